#include "nn/moe/routing.h"

#include <doctest/doctest.h>

#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("routing: token choice, with a capacity and dropless, by hand") {
  // Two groups of three tokens with two choices each; token 1 of group 1 is masked.
  const Tensor chosen = tensor({{{0, 1}, {0, 2}, {0, 1}}, {{2, 0}, {-1, -1}, {2, 1}}}, DType::i64);
  const Tensor gates = random_tensor({2, 3, 2}, 1);
  const Routing r = tokens_choose(gates, chosen, capacity_slots(chosen, 3, 1), 3, DType::f64);
  CHECK(r.token.to_vector<i64>() == std::vector<i64>{0, 0, 1, 0, 2, 0});
  CHECK(r.load.to_vector<i64>() == std::vector<i64>{2, 2, 2});
  CHECK(r.dropped.to_vector<i64>() == std::vector<i64>{0, 1, 2, 0, 0, 1});
  CHECK_EQ(r.slots_per_expert(), 1);
  const Tensor combine = dense(r.combine), dispatch = dense(cast(r.dispatch, DType::f64));
  for_each_index({2, 3, 3}, [&](const std::vector<i64>& at) {
    double gate = 0;
    bool here = false;
    const i64 token = static_cast<i64>(r.token.to_vector<i64>()[static_cast<std::size_t>(at[0] * 3 + at[1])]);
    for (i64 k : {0, 1})
      if (token == at[2] && value_at(chosen, {at[0], at[2], k}) == static_cast<double>(at[1]))
        gate = value_at(gates, {at[0], at[2], k}), here = true;
    CHECK_EQ(value_at(dispatch, at), here ? 1 : 0);
    CHECK_EQ(value_at(combine, at), gate);
  });

  const Tensor all = reshape(chosen, {1, 6, 2});
  const Routing free = tokens_choose(reshape(gates, {1, 6, 2}), all, sorted_slots(all[0], 3), 3, DType::f64);
  CHECK(free.dropless());
  CHECK(free.token.to_vector<i64>() == std::vector<i64>{0, 1, 2, 3, 0, 2, 5, 1, 3, 5, -1, -1});
  CHECK(free.load.to_vector<i64>() == std::vector<i64>{4, 3, 3});
  CHECK_EQ(amax(free.dropped).item(), 0);
}

TEST_CASE("routing: expert choice, by hand") {
  const Tensor picked = tensor({{{2, 0}, {2, -1}}}, DType::i64);
  const Tensor gates = random_tensor({1, 2, 2}, 1);
  const Routing r = experts_choose(gates, picked, 4, DType::f64);
  CHECK(r.load.to_vector<i64>() == std::vector<i64>{2, 1});
  CHECK(r.dropped.to_vector<i64>() == std::vector<i64>{0, 1, 0, 1});
  const Tensor combine = dense(r.combine);
  const i64 token[] = {2, 0, 2, -1};
  for_each_index({1, 4, 4}, [&](const std::vector<i64>& at) {
    const double gate = at[2] == token[at[1]] ? value_at(gates, {0, at[1] / 2, at[1] % 2}) : 0;
    CHECK_EQ(value_at(combine, at), gate);
  });
}
