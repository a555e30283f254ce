#include "ops/diagonal.h"

#include <doctest/doctest.h>

#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("diagonal and place_diagonal: forward and gradients, each the other's") {
  check_op({.name = "diagonal",
            .op = [](Args x) { return diagonal(x[0], 0, 2); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({3, 4}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    set_value(y, at, value_at(x[0], {at[0], at[1], at[0]}));
                  });
                  return y;
                },
            .inputs = {{3, 4, 3}}});
  check_op({.name = "place_diagonal",
            .op = [](Args x) { return place_diagonal(x[0], 0, 1); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({3, 3, 2}, DType::f64);
                  for_each_index(x[0].shape(), [&](const std::vector<i64>& at) {
                    set_value(y, {at[0], at[0], at[1]}, value_at(x[0], at));
                  });
                  return y;
                },
            .inputs = {{3, 2}}});
  check_op({.name = "diagonal", .op = [](Args x) { return diagonal(x[0], -1, 0); }, .inputs = {{1, 1}}});
  check_op({.name = "diagonal", .op = [](Args x) { return diagonal(x[0], 0, 1); }, .inputs = {{0, 0, 2}}});
}

TEST_CASE("diagonal: two axes of one size are needed") {
  CHECK_THROWS_WITH_AS(diagonal(zeros({2, 3}), 0, 1),
                       "diagonal: two axes of one size are needed; got axes 0 and 1 of x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(diagonal(zeros({2, 2}), 1, -1),
                       "diagonal: two axes of one size are needed; got axes 1 and -1 of x [2, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(place_diagonal(zeros({2}), 0, 3),
                       "place_diagonal: 0 <= a < b <= rank is needed; got a = 0, b = 3 for x [2]", ShapeError);
}

TEST_CASE("place_diagonal: size 0") {
  check_op({.name = "place_diagonal", .op = [](Args x) { return place_diagonal(x[0], 0, 1); }, .inputs = {{0, 2}}});
}
