#include "nn/moe/capacity.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Slots by their definition: for each choice rank, tokens in the given order take the next slot of their expert.
std::vector<i64> naive_tokens(const Tensor& chosen, i64 g, const std::vector<i64>& order, i64 experts, i64 capacity) {
  std::vector<i64> token(static_cast<std::size_t>(experts * capacity), -1);
  std::vector<i64> used(static_cast<std::size_t>(experts), 0);
  for (i64 k = 0; k < chosen.dim(2); ++k)
    for (const i64 n : order) {
      const i64 e = static_cast<i64>(value_at(chosen, {g, n, k}));
      if (e < 0 || used[static_cast<std::size_t>(e)] >= capacity) continue;
      token[static_cast<std::size_t>(e * capacity + used[static_cast<std::size_t>(e)]++)] = n;
    }
  return token;
}

const Tensor& the_choices() {
  static const Tensor made =
      tensor({{{0, 1}, {0, 2}, {1, 0}, {-1, -1}, {0, 2}}, {{2, 0}, {2, 1}, {2, 0}, {2, 1}, {1, 2}}}, DType::i64);
  return made;
}

}  // namespace

TEST_CASE("capacity: rules, least and fixed numbers of slots") {
  CHECK_EQ(Capacity{.factor = 1}.of(13, 2, 4), 7);  // ceil(26 / 4)
  CHECK_EQ(Capacity{.factor = 1.25}.of(16, 1, 4), 5);
  CHECK_EQ((Capacity{.factor = 1, .rule = Capacity::Rule::tokens}.of(13, 2, 4)), 3);  // floor(13 / 4), without k
  CHECK_EQ((Capacity{.factor = 1.25, .rule = Capacity::Rule::tokens}.of(14, 3, 4)), 4);
  CHECK_EQ((Capacity{.factor = 0.1, .rule = Capacity::Rule::tokens}.of(4, 1, 4)), 0);
  CHECK_EQ((Capacity{.factor = 0.1, .rule = Capacity::Rule::tokens, .least = 2}.of(4, 1, 4)), 2);
  CHECK_EQ((Capacity{.factor = 9, .slots = 3}.of(100, 2, 4)), 3);
  CHECK_EQ(Capacity{.factor = 1}.of(0, 2, 4), 0);
  CHECK_THROWS_WITH_AS(Capacity{.factor = 1e30}.of(8, 1, 2),
                       "capacity: an expert must have at most 2^40 slots; got 4e+30 for 8 tokens", ShapeError);
  CHECK_THROWS_WITH_AS((Capacity{.slots = i64{1} << 62}.of(8, 1, 2)),
                       "capacity: an expert must have at most 2^40 slots; got 4.611686018427388e+18 for 8 tokens",
                       ShapeError);
  CHECK_THROWS_WITH_AS((Capacity{.factor = 1, .least = i64{1} << 61}.of(8, 1, 2)),
                       "capacity: an expert must have at most 2^40 slots; got 2.305843009213694e+18 for 8 tokens",
                       ShapeError);
  CHECK_EQ(Capacity{.factor = 1.1}.of(100, 1, 10), 11);  // not 12: 1.1 * 100 / 10 is rounded up
  CHECK_EQ(Capacity{.factor = 1.1}.of(101, 1, 10), 12);
  CHECK_THROWS_WITH_AS(checked("Router", Capacity{.factor = -1}),
                       "Router: capacity.factor must be >= 0 and finite; got -1", Error);
  CHECK_THROWS_WITH_AS(checked("Router", Capacity{.least = -1}),
                       "Router: capacity.least and capacity.slots must be >= 0; got -1 and 0", Error);
}

TEST_CASE("capacity: slots in any order of service are those of the definition in loops") {
  const std::vector<std::vector<i64>> orders{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 3, 1}};
  for (const std::vector<i64>& first : orders)
    for (const std::vector<i64>& second : orders)
      for (const i64 capacity : {0, 1, 2, 5}) {
        std::vector<i64> both = first;
        both.insert(both.end(), second.begin(), second.end());
        const Slots s = ordered_capacity_slots(the_choices(), from_vector(both, {2, 5}), 3, capacity);
        CHECK_FALSE(s.begin);
        std::vector<i64> want = naive_tokens(the_choices(), 0, first, 3, capacity),
                         more = naive_tokens(the_choices(), 1, second, 3, capacity);
        want.insert(want.end(), more.begin(), more.end());
        CHECK(s.token.to_vector<i64>() == want);
        const std::vector<i64> row = s.row.to_vector<i64>();
        for (std::size_t p = 0; p < row.size(); ++p) {
          CHECK_EQ(row[p] < 0 ? -1 : row[p] / 2, want[p]);
          const i64 g = static_cast<i64>(p) / (3 * std::max<i64>(capacity, 1)),
                    e = static_cast<i64>(p) / std::max<i64>(capacity, 1) % 3;
          if (row[p] >= 0) CHECK_EQ(value_at(the_choices(), {g, row[p] / 2, row[p] % 2}), static_cast<double>(e));
        }
      }
  CHECK(ordered_capacity_slots(the_choices(), {}, 3, 2).row.to_vector<i64>() ==
        capacity_slots(the_choices(), 3, 2).row.to_vector<i64>());
}

TEST_CASE("capacity: the order of service by best gate, ties in token order; random ones in training only") {
  Random random(3);
  Context training{.training = true, .random = &random}, evaluation;
  const Tensor scores = tensor({{{0.2, 0.1}, {0.1, 0.6}, {0.6, 0.1}, {0.9, 0}}}, DType::f64);
  CHECK(service_order(Priority::best_gate, scores, evaluation).to_vector<i64>() == std::vector<i64>{3, 1, 2, 0});
  CHECK_FALSE(service_order(Priority::first_come, scores, training));
  CHECK_FALSE(service_order(Priority::random, scores, evaluation));
  const Tensor many = zeros({3, 50, 1});
  const std::vector<i64> order = service_order(Priority::random, many, training).to_vector<i64>();
  for (std::size_t g = 0; g < 3; ++g) {
    std::vector<i64> of(order.begin() + static_cast<std::ptrdiff_t>(50 * g),
                        order.begin() + static_cast<std::ptrdiff_t>(50 * g + 50)),
        all(50);
    CHECK_FALSE(std::is_sorted(of.begin(), of.end()));
    std::sort(of.begin(), of.end());
    std::iota(all.begin(), all.end(), 0);
    CHECK(of == all);
  }
  Context replay{.training = true};
  replay.replayed = {{tensor({{0.5, 0.1, 0.3, 0.2}}, DType::f64)}};
  CHECK(service_order(Priority::random, scores, replay).to_vector<i64>() == std::vector<i64>{1, 3, 2, 0});
}
