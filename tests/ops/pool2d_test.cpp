#include "ops/pool2d.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/choose.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Case {
  Shape x;  // [C, H, W]
  Size2 kernel;
  std::optional<Size2> stride = {};
  Size2 padding = 0, dilation = 1;
  bool ceil = false;
};
const Case kCases[] = {{{2, 4, 4}, 2},
                       {{1, 5, 7}, {2, 3}},
                       {{2, 5, 5}, 3, Size2{2}, 1},
                       {{1, 5, 6}, {2, 3}, Size2{1, 2}, {0, 1}},
                       {{1, 5, 6}, 2, Size2{2}, 0, 1, true},
                       {{1, 6, 4}, 3, Size2{2}, 1, 1, true},
                       {{1, 3, 4}, 2, Size2{3}, 1, 1, true},
                       {{1, 1, 1}, 1},
                       {{0, 4, 4}, 2}};

// Number of windows along an axis, counted: under `ceil` one may reach out of the padding, but begins inside.
i64 windows_along(i64 n, i64 kernel, i64 stride, i64 padding, i64 dilation, bool ceil) {
  const i64 extent = dilation * (kernel - 1) + 1;
  i64 count = 0;
  for (i64 at = -padding; at + extent <= n + padding; at += stride) ++count;
  const i64 next = -padding + count * stride;
  return count + (ceil && next - stride + extent < n + padding && next < n);
}

// y[c, a, b] = reduce(elements inside the image, how many lie in image and padding)
std::function<Tensor(Args)> naive(const Case& c, std::function<double(const std::vector<double>&, i64)> reduce) {
  return [=](Args in) {
    const i64 height = c.x[1], width = c.x[2];
    const Size2 stride = c.stride.value_or(c.kernel);
    const i64 p = windows_along(height, c.kernel.rows, stride.rows, c.padding.rows, c.dilation.rows, c.ceil);
    const i64 q = windows_along(width, c.kernel.columns, stride.columns, c.padding.columns, c.dilation.columns, c.ceil);
    Tensor y = empty({c.x[0], p, q}, DType::f64);
    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
      std::vector<double> inside;
      i64 padded = 0;
      for_each_index({c.kernel.rows, c.kernel.columns}, [&](const std::vector<i64>& e) {
        const i64 row = at[1] * stride.rows + e[0] * c.dilation.rows - c.padding.rows;
        const i64 column = at[2] * stride.columns + e[1] * c.dilation.columns - c.padding.columns;
        padded += row < height + c.padding.rows && column < width + c.padding.columns;
        if (row >= 0 && row < height && column >= 0 && column < width)
          inside.push_back(value_at(in[0], {at[0], row, column}));
      });
      set_value(y, at, reduce(inside, padded));
    });
    return y;
  };
}

double sum_of(const std::vector<double>& v) {
  double total = 0;
  for (const double x : v) total += x;
  return total;
}

}  // namespace

TEST_CASE("max_pool2d: forward, gradient, second order, strides, padding, dilation, ceil") {
  for (const Case& c : kCases)
    for (const Size2 dilation : {Size2{1}, Size2{2, 1}}) {
      if (c.x[1] < 3 && dilation.rows > 1) continue;
      Case own = c;
      own.dilation = dilation;
      CAPTURE(to_string(c.x));
      check_op({.name = "max_pool2d",
                .op =
                    [&](Args x) {
                      return max_pool2d(
                          x[0], c.kernel,
                          {.stride = c.stride, .padding = c.padding, .dilation = dilation, .ceil = c.ceil});
                    },
                .reference =
                    naive(own, [](const std::vector<double>& v, i64) { return *std::max_element(v.begin(), v.end()); }),
                .inputs = {c.x}});
    }
}

TEST_CASE("avg_pool2d: forward, gradient, second order, strides, padding, ceil, what it divides by") {
  for (const Case& c : kCases)
    for (const bool count_padding : {true, false})
      for (const std::optional<i64> divisor : {std::optional<i64>{}, std::optional<i64>{-3}}) {
        CAPTURE(to_string(c.x));
        const AvgPoolOptions how{.stride = c.stride,
                                 .padding = c.padding,
                                 .ceil = c.ceil,
                                 .count_padding = count_padding,
                                 .divisor = divisor};
        const auto mean = [=](const std::vector<double>& v, i64 padded) {
          const i64 n = divisor ? *divisor : count_padding ? padded : static_cast<i64>(v.size());
          return sum_of(v) / static_cast<double>(n);
        };
        check_op({.name = "avg_pool2d",
                  .op = [&](Args x) { return avg_pool2d(x[0], c.kernel, how); },
                  .reference = naive(c, mean),
                  .inputs = {c.x}});
      }
}

TEST_CASE("max_pool2d: of equal elements the first one gets the gradient; NaN stays; the choice is on the tape") {
  Tensor x = tensor({{1, 3, 3}, {3, 1, 3}}, DType::f64);
  x.requires_grad_();
  const Tensor y = max_pool2d(x, 2, {.stride = 1});
  CHECK_EQ(difference(grad(y, {x}, ones({1, 2}, DType::f64))[0], tensor({{0, 2, 0}, {0, 0, 0}}, DType::f64)), 0);
  CHECK(std::isnan(max_pool2d(tensor({{1, std::nan("")}, {2, 3}}), 2).item()));
  RouteTape tape;
  const TapeScope scope(tape, TapeMode::record);
  max_pool2d(x, 2);
  CHECK_EQ(tape.choices().size(), 1);
}

TEST_CASE("pool2d: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({3, 4, 4});
  CHECK_THROWS_WITH_AS(max_pool2d(zeros({4}), 2), "max_pool2d: x must be [.., H, W]; got x [4]", ShapeError);
  CHECK_THROWS_WITH_AS(max_pool2d(x, 2, {.padding = {1, 2}}),
                       "max_pool2d: padding must be at most half the kernel; got padding 1 x 2 and kernel 2 x 2",
                       Error);
  CHECK_THROWS_WITH_AS(max_pool2d(zeros({2, 2}, DType::i64), 2), "max_pool2d: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(
      avg_pool2d(x, 5),
      "avg_pool2d: a window must fit into the padded image; got kernel = 5 x 5, stride = 5 x 5, padding "
      "= 0 x 0, dilation = 1 x 1 for x [1, 4, 4]",
      ShapeError);
  CHECK_THROWS_WITH_AS(avg_pool2d(x, 2, {.stride = Size2{0}}), "avg_pool2d: stride must be in [1, 2^31); got 0 x 0",
                       Error);
  CHECK_THROWS_WITH_AS(avg_pool2d(x, 2, {.divisor = 0}), "avg_pool2d: divisor must not be 0; got divisor = 0", Error);
}
