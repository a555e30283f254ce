#include "ops/unfold.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Case {
  Shape image;  // [N, C, H, W]
  Size2 kernel;
  WindowOptions how;
};
const Case kCases[] = {
    {{2, 3, 4, 6}, 2, {.stride = 2}},
    {{1, 2, 5, 7}, {2, 3}, {.stride = {2, 1}, .padding = {0, 2}}},
    {{2, 1, 4, 3}, 3, {.padding = 1}},
    {{1, 2, 7, 6}, 2, {.stride = 2, .padding = {1, 0}, .dilation = {3, 2}}},
    {{1, 1, 2, 2}, 1, {.stride = 3, .padding = 2}},
    {{1, 1, 1, 2}, {4, 1}, {.padding = {3, 0}}},
    {{0, 2, 3, 3}, 2, {}},
    {{2, 0, 3, 3}, 2, {}},
};

i64 windows_along(i64 n, i64 kernel, i64 stride, i64 padding, i64 dilation) {
  i64 count = 0;
  for (i64 at = -padding; at + dilation * (kernel - 1) < n + padding; at += stride) ++count;
  return count;
}

// Calls pair(index in the image, index in the columns) for everything that unfold copies.
template <class Pair> Shape for_each_pair(const Case& c, Pair&& pair) {
  const i64 down = windows_along(c.image[2], c.kernel.rows, c.how.stride.rows, c.how.padding.rows, c.how.dilation.rows);
  const i64 across =
      windows_along(c.image[3], c.kernel.columns, c.how.stride.columns, c.how.padding.columns, c.how.dilation.columns);
  for_each_index(
      {c.image[0], c.image[1], c.kernel.rows, c.kernel.columns, down, across}, [&](const std::vector<i64>& t) {
        const i64 row = t[4] * c.how.stride.rows + t[2] * c.how.dilation.rows - c.how.padding.rows;
        const i64 column = t[5] * c.how.stride.columns + t[3] * c.how.dilation.columns - c.how.padding.columns;
        if (row < 0 || row >= c.image[2] || column < 0 || column >= c.image[3]) return;
        pair(std::vector<i64>{t[0], t[1], row, column},
             std::vector<i64>{t[0], (t[1] * c.kernel.rows + t[2]) * c.kernel.columns + t[3], t[4] * across + t[5]});
      });
  return {c.image[0], c.image[1] * c.kernel.rows * c.kernel.columns, down * across};
}

}  // namespace

TEST_CASE("unfold: forward, gradient, second order, strides, padding, dilation") {
  for (const Case& c : kCases) {
    CAPTURE(to_string(c.image));
    check_op({.name = "unfold",
              .op = [&](Args x) { return unfold(x[0], c.kernel, c.how); },
              .reference =
                  [&](Args x) {
                    Tensor y = zeros(for_each_pair(c, [](auto&&...) {}), DType::f64);
                    for_each_pair(c, [&](const auto& from, const auto& to) { set_value(y, to, value_at(x[0], from)); });
                    return y;
                  },
              .inputs = {c.image}});
  }
}

TEST_CASE("fold: forward, gradient, second order, strides, padding, dilation") {
  for (const Case& c : kCases) {
    CAPTURE(to_string(c.image));
    check_op({.name = "fold",
              .op =
                  [&](Args x) {
                    return fold(x[0], {c.image[2], c.image[3]}, c.kernel, c.how);
                  },
              .reference =
                  [&](Args x) {
                    Tensor y = zeros(c.image, DType::f64);
                    for_each_pair(c, [&](const auto& to, const auto& from) {
                      set_value(y, to, value_at(y, to) + value_at(x[0], from));
                    });
                    return y;
                  },
              .inputs = {for_each_pair(c, [](auto&&...) {})}});
  }
}

TEST_CASE("unfold, fold: any number of axes before the channels; adjoint; the same bits for any number of threads") {
  const Tensor x = random_tensor({4, 8, 40, 50}, 1);
  CHECK_EQ(difference(unfold(x[1], 3), unfold(x, 3)[1]), 0);
  const Tensor columns = unfold(x, 3, {.stride = 2, .padding = 1}), other = random_tensor(columns.shape(), 2);
  const auto back = [&] { return fold(other, {40, 50}, 3, {.stride = 2, .padding = 1}); };
  CHECK(std::abs(sum(columns * other).item() - sum(x * back()).item()) < 1e-9);
  const int before = num_threads();
  set_num_threads(1);
  const Tensor one = back();
  set_num_threads(3);
  CHECK_EQ(difference(one, back()), 0);
  set_num_threads(before);
}

TEST_CASE("unfold, fold: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 3, 4, 4});
  CHECK_THROWS_WITH_AS(unfold(zeros({4, 4}), 2), "unfold: x must be [.., C, H, W]; got x [4, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(
      unfold(x, {5, 2}),
      "unfold: a window must fit into the padded image; got kernel = 5 x 2, stride = 1 x 1, padding = 0 "
      "x 0, dilation = 1 x 1 for x [2, 3, 4, 4]",
      ShapeError);
  CHECK_THROWS_WITH_AS(unfold(x, {2, 0}), "unfold: kernel must be in [1, 2^31); got 2 x 0", Error);
  CHECK_THROWS_WITH_AS(unfold(x, 2, {.stride = 0}), "unfold: stride must be in [1, 2^31); got 0 x 0", Error);
  CHECK_THROWS_WITH_AS(unfold(x, 2, {.padding = {-1, 0}}), "unfold: padding must be in [0, 2^31); got -1 x 0", Error);
  CHECK_THROWS_WITH_AS(unfold(x, 2, {.dilation = {1, i64{1} << 62}}),
                       "unfold: dilation must be in [1, 2^31); got 1 x 4611686018427387904", Error);
  CHECK_THROWS_WITH_AS(
      unfold(x, (i64{1} << 31) - 1, {.padding = (i64{1} << 31) - 1}),
      "unfold: a tensor holds at most 2^62 elements; got shape [6, 2147483647, 2147483647, 2147483652, 2147483652]",
      ShapeError);
  CHECK_THROWS_WITH_AS(unfold(zeros({1, 2, 2}, DType::i64), 1), "unfold: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(fold(zeros({2, 7, 9}), 4, 2),
                       "fold: x must be [.., C * 4, windows] for an image of 4 x 4; got x [2, 7, 9]", ShapeError);
  CHECK_THROWS_WITH_AS(fold(zeros({2, 8, 8}), 4, 2),
                       "fold: x must be [.., C * 4, 9] for an image of 4 x 4; got x [2, 8, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(fold(zeros({8}), 4, 2), "fold: x must be [.., C * 4, windows] for an image of 4 x 4; got x [8]",
                       ShapeError);
}
