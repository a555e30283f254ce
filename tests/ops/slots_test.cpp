#include "ops/slots.h"

#include <doctest/doctest.h>

#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
using List = std::vector<i64>;
}

TEST_CASE("sorted_slots: rows by expert, stable; -1 takes no slot") {
  const Slots s = sorted_slots(tensor({{2, 0}, {0, 2}, {-1, 2}}, DType::i64), 4);
  CHECK_EQ(s.begin.to_vector<i64>(), List{0, 2, 2, 5, 5});
  CHECK_EQ(s.row.to_vector<i64>(), List{1, 2, 0, 3, 5, -1});
  CHECK_EQ(s.token.to_vector<i64>(), List{0, 1, 0, 1, 2, -1});
  CHECK_EQ(s.row.shape(), Shape{1, 6});
}

TEST_CASE("capacity_slots: first choices first, tokens in order, the rest is dropped") {
  // expert 0 is wanted by tokens 0 (second), 1 (first) and 2 (first); it has 2 slots
  const Slots s = capacity_slots(tensor({{{1, 0}, {0, 1}, {0, -1}}}, DType::i64), 3, 2);
  CHECK_EQ(s.token.to_vector<i64>(), List{1, 2, 0, 1, -1, -1});
  CHECK_EQ(s.row.to_vector<i64>(), List{2, 4, 0, 3, -1, -1});
  CHECK_FALSE(s.begin);
}

TEST_CASE("capacity_slots: groups are independent; capacity 0 and no tokens are empty") {
  const Slots s = capacity_slots(tensor({{{0}, {0}}, {{1}, {0}}}, DType::i64), 2, 1);
  CHECK_EQ(s.token.to_vector<i64>(), List{0, -1, 1, 0});
  CHECK_EQ(capacity_slots(zeros({1, 3, 1}, DType::i64), 2, 0).row.shape(), Shape{1, 0});
  CHECK_EQ(capacity_slots(zeros({1, 0, 2}, DType::i64), 2, 3).token.to_vector<i64>(), List(6, -1));
  CHECK_EQ(sorted_slots(zeros({0, 2}, DType::i64), 2).begin.to_vector<i64>(), List{0, 0, 0});
}

TEST_CASE("slots: what is wrong is named") {
  CHECK_THROWS_WITH_AS(sorted_slots(zeros({2, 3}), 4), "sorted_slots: x must be i64 (chosen experts); got f32",
                       DTypeError);
  CHECK_THROWS_WITH_AS((sorted_slots(full({2, 3}, 4, DType::i64), 4), settle()),
                       bad_value("sorted_slots: values must be in [-1, 4); got 4", " at element 0 of chosen [2, 3]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(capacity_slots(zeros({2, 3}, DType::i64), 4, 1),
                       "capacity_slots: chosen must be [G, N, K]; got [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(capacity_slots(zeros({1, 2, 3}, DType::i64), 8, i64{1} << 61),
                       "capacity_slots: experts times capacity must be in [0, 2^40]; got 8 and 2305843009213693952",
                       ShapeError);
  CHECK_THROWS_WITH_AS(capacity_slots(zeros({1, 2, 3}, DType::i64), 4, -1),
                       "capacity_slots: capacity must be >= 0; got -1", ShapeError);
}

TEST_CASE("slots: strided tables of choices, and none") {
  const Tensor chosen = tensor({{2, 0}, {0, 2}, {-1, 2}}, DType::i64);
  const auto table = [](const std::vector<double>& v) {
    return [y = from_vector(v, {1, static_cast<i64>(v.size())})](Args) { return y; };
  };
  check_op({.name = "sorted_slots",
            .op = [](Args x) { return sorted_slots(x[0], 4).row; },
            .reference = table({1, 2, 0, 3, 5, -1}),
            .inputs = {Input::fixed(chosen)},
            .order = 0});
  check_op({.name = "capacity_slots",
            .op = [](Args x) { return capacity_slots(x[0], 3, 2).row; },
            .reference = table({2, 1, -1, -1, 0, 3}),
            .inputs = {Input::fixed(unsqueeze(chosen, 0))},
            .order = 0});
  check_op({.name = "sorted_slots",
            .op = [](Args x) { return sorted_slots(x[0], 4).row; },
            .inputs = {Input::fixed(zeros({0, 2}, DType::i64))},
            .order = 0});
  check_op({.name = "capacity_slots",
            .op = [](Args x) { return capacity_slots(x[0], 4, 2).row; },
            .inputs = {Input::fixed(zeros({1, 0, 2}, DType::i64))},
            .order = 0});
}
