#include "ops/grouped_matmul.h"

#include <doctest/doctest.h>

#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
std::vector<Tensor> begins() {
  return {tensor({0, 3, 3, 7}, DType::i64), tensor({0, 0, 0, 7}, DType::i64), tensor({0, 7, 7, 7}, DType::i64),
          tensor({0, 2, 4, 7}, DType::i64), tensor({0, 2, 2, 5}, DType::i64)};
}

i64 group_of(const Tensor& begin, i64 row) {
  i64 e = 0;
  while (e < 3 && value_at(begin, {e + 1}) <= static_cast<double>(row)) ++e;
  return e;  // 3: no group
}
}  // namespace

TEST_CASE("grouped_matmul: forward, gradients, second order; empty groups, transposed weights") {
  for (const Tensor& begin : begins()) {
    const auto naive = [&](Args x) {
      Tensor y = zeros({7, 5}, DType::f64);
      for_each_index({7, 5, 4}, [&](const std::vector<i64>& at) {
        const i64 e = group_of(begin, at[0]);
        if (e < 3)
          set_value(y, {at[0], at[1]},
                    value_at(y, {at[0], at[1]}) + value_at(x[0], {at[0], at[2]}) * value_at(x[1], {e, at[2], at[1]}));
      });
      return y;
    };
    check_op({.name = "grouped_matmul",
              .op = [&](Args x) { return grouped_matmul(x[0], x[1], begin); },
              .reference = naive,
              .inputs = {{7, 4}, {3, 4, 5}}});
    check_op({.name = "grouped_matmul",
              .op = [&](Args x) { return grouped_matmul(x[0], swap_axes(x[1], 1, 2), begin); },
              .reference =
                  [&](Args x) {
                    return naive({x[0], swap_axes(x[1], 1, 2)});
                  },
              .inputs = {{7, 4}, {3, 5, 4}}});
  }
}

TEST_CASE("grouped_outer: forward, gradients, second order; empty groups are zeros") {
  for (const Tensor& begin : begins())
    check_op(
        {.name = "grouped_outer",
         .op = [&](Args x) { return grouped_outer(x[0], x[1], begin); },
         .reference =
             [&](Args x) {
               Tensor y = zeros({3, 4, 2}, DType::f64);
               for_each_index({7, 4, 2}, [&](const std::vector<i64>& at) {
                 const std::vector<i64> to{group_of(begin, at[0]), at[1], at[2]};
                 if (to[0] < 3)
                   set_value(y, to, value_at(y, to) + value_at(x[0], {at[0], at[1]}) * value_at(x[1], {at[0], at[2]}));
               });
               return y;
             },
         .inputs = {{7, 4}, {7, 2}}});
  check_op({.name = "grouped_outer",
            .op =
                [](Args x) {
                  return grouped_outer(x[0], x[1], tensor({0, 0}, DType::i64));
                },
            .inputs = {{0, 4}, {0, 2}}});
}

TEST_CASE("grouped_matmul: what is wrong is named") {
  const Tensor x = zeros({7, 4}), w = zeros({3, 4, 5});
  CHECK_THROWS_WITH_AS(grouped_matmul(x, zeros({3, 5, 4}), begins()[0]),
                       "grouped_matmul: sizes must fit; got x [7, 4] and w [3, 5, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(grouped_matmul(x, w, tensor({0, 7}, DType::i64)),
                       "grouped_matmul: begin must be [E + 1]; got begin [2] for E = 3", ShapeError);
  CHECK_THROWS_WITH_AS(grouped_matmul(x, w, tensor({0, 5, 3, 7}, DType::i64)),
                       "grouped_matmul: begin must ascend from 0 to at most 7; got 0 .. 7 for 3 groups", IndexError);
  CHECK_THROWS_WITH_AS(grouped_matmul(x, w, tensor({0, 3, 5, 8}, DType::i64)),
                       "grouped_matmul: begin must ascend from 0 to at most 7; got 0 .. 8 for 3 groups", IndexError);
}

TEST_CASE("grouped_matmul: no rows, no groups; grouped_outer names itself") {
  check_op({.name = "grouped_matmul",
            .op = [](Args x) { return grouped_matmul(x[0], x[1], x[2]); },
            .inputs = {{0, 4}, {2, 4, 3}, Input::fixed(zeros({3}, DType::i64))}});
  check_op({.name = "grouped_matmul",
            .op = [](Args x) { return grouped_matmul(x[0], x[1], x[2]); },
            .inputs = {{3, 4}, {0, 4, 3}, Input::fixed(zeros({1}, DType::i64))}});
  const Tensor x = zeros({7, 4}), none = zeros({0}, DType::i64);
  CHECK_THROWS_WITH_AS(grouped_outer(x, x, none), "grouped_outer: begin must be [E + 1]; got begin [0] for E = 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(grouped_matmul(x, zeros({0, 4, 5}), none),
                       "grouped_matmul: begin must be [E + 1]; got begin [0] for E = 0", ShapeError);
  CHECK_THROWS_WITH_AS(grouped_outer(x, x, zeros({}, DType::i64)),
                       "grouped_outer: begin must be [E + 1]; got begin [] for E = 0", ShapeError);
  CHECK_THROWS_WITH_AS(grouped_outer(zeros({7, 4}), zeros({6, 2}), begins()[0]),
                       "grouped_outer: sizes must fit; got x [7, 4] and z [6, 2]", ShapeError);
}
