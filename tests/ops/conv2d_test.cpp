#include "ops/conv2d.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/slice.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Seven plain loops. x [N, C, H, W], w [O, C / groups, k, l], b [O] if there is one.
std::function<Tensor(Args)> naive(const ConvOptions& o) {
  return [o](Args in) {
    const Tensor &x = in[0], &w = in[1];
    const i64 p = (x.dim(2) + 2 * o.padding.rows - o.dilation.rows * (w.dim(2) - 1) - 1) / o.stride.rows + 1;
    const i64 q = (x.dim(3) + 2 * o.padding.columns - o.dilation.columns * (w.dim(3) - 1) - 1) / o.stride.columns + 1;
    Tensor y = zeros({x.dim(0), w.dim(0), p, q}, DType::f64);
    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
      const i64 group = at[1] / (w.dim(0) / o.groups);
      double total = in.size() > 2 ? value_at(in[2], {at[1]}) : 0;
      for_each_index(Shape(w.shape().begin() + 1, w.shape().end()), [&](const std::vector<i64>& e) {
        const i64 row = at[2] * o.stride.rows + e[1] * o.dilation.rows - o.padding.rows;
        const i64 column = at[3] * o.stride.columns + e[2] * o.dilation.columns - o.padding.columns;
        if (row < 0 || row >= x.dim(2) || column < 0 || column >= x.dim(3)) return;
        total += value_at(w, {at[1], e[0], e[1], e[2]}) * value_at(x, {at[0], group * w.dim(1) + e[0], row, column});
      });
      set_value(y, at, total);
    });
    return y;
  };
}

}  // namespace

TEST_CASE("conv2d: forward, gradient, second order, strides, padding, dilation, groups") {
  struct Case {
    Shape x, w;
    ConvOptions how;
  };
  const Case cases[] = {{{2, 3, 4, 6}, {4, 3, 2, 2}, {.stride = 2}},
                        {{1, 2, 5, 7}, {3, 2, 2, 2}, {.stride = 2}},
                        {{1, 2, 4, 3}, {2, 2, 3, 3}, {.padding = 1}},
                        {{2, 4, 4, 5}, {6, 2, 2, 3}, {.stride = {1, 2}, .padding = {0, 1}, .groups = 2}},
                        {{1, 3, 3, 3}, {3, 1, 2, 2}, {.dilation = {1, 2}, .groups = 3}},
                        {{1, 2, 1, 1}, {2, 2, 1, 1}, {}},
                        {{0, 2, 3, 3}, {2, 2, 2, 2}, {}}};
  for (const Case& c : cases) {
    CAPTURE(to_string(c.w));
    check_op({.name = "conv2d",
              .op = [&](Args x) { return conv2d(x[0], x[1], x[2], c.how); },
              .reference = naive(c.how),
              .inputs = {c.x, c.w, {c.w[0]}}});
    check_op({.name = "conv2d",
              .op = [&](Args x) { return conv2d(x[0], x[1], {}, c.how); },
              .reference = naive(c.how),
              .inputs = {c.x, c.w},
              .order = 1});
  }
}

TEST_CASE("conv2d: an image without an axis of samples, and with two") {
  const Tensor x = random_tensor({2, 3, 2, 5, 4}, 1), w = random_tensor({3, 2, 2, 2}, 2), b = random_tensor({3}, 3);
  const Tensor y = conv2d(x, w, b);
  CHECK_EQ(y.shape(), Shape{2, 3, 3, 4, 3});
  CHECK_LE(difference(y[1][2], conv2d(x[1][2], w, b)), 1e-15);
}

TEST_CASE("patch_embed: forward, gradient, second order; a rest at the border is not seen") {
  for (const Shape& x : {Shape{2, 3, 4, 6}, Shape{1, 3, 5, 7}, Shape{0, 3, 4, 4}})
    check_op({.name = "patch_embed",
              .op = [](Args in) { return patch_embed(in[0], in[1], in[2]); },
              .reference =
                  [](Args in) {
                    const Tensor y = naive({.stride = {2, 3}})(in);
                    const Tensor tokens = empty({y.dim(0), y.dim(2) * y.dim(3), y.dim(1)}, DType::f64);
                    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                      set_value(tokens, {at[0], at[2] * y.dim(3) + at[3], at[1]}, value_at(y, at));
                    });
                    return tokens;
                  },
              .inputs = {x, {5, 3, 2, 3}, {5}}});
}

TEST_CASE("conv2d: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({1, 4, 5, 5});
  CHECK_THROWS_WITH_AS(
      conv2d(x, zeros({2, 3, 2, 2})),
      "conv2d: w must be [O, C / groups, k, l], and groups divide C and O; got x [1, 4, 5, 5], w [2, 3, "
      "2, 2] and groups = 1",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      conv2d(x, zeros({3, 2, 2, 2}), {}, {.groups = 2}),
      "conv2d: w must be [O, C / groups, k, l], and groups divide C and O; got x [1, 4, 5, 5], w [3, 2, "
      "2, 2] and groups = 2",
      ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, zeros({3, 4, 2, 2}), {}, {.groups = 0}),
                       "conv2d: w must be [O, C / groups, k, l], and groups divide C and O; got x [1, 4, 5, 5], w [3, "
                       "4, 2, 2] and groups = 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(zeros({4, 5}), zeros({3, 4, 2, 2})),
                       "conv2d: x must be [.., C, H, W] and w [O, C / groups, k, l]; got x [4, 5] and w [3, 4, 2, 2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, zeros({3, 4, 2, 2}), zeros({2})),
                       "conv2d: b must have one value per channel of y; got b [2] and w [3, 4, 2, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, zeros({3, 4, 2, 2}, DType::f64)),
                       "conv2d: operands must have one dtype; got f32 [1, 4, 5, 5] and f64 [3, 4, 2, 2]", DTypeError);
  CHECK_THROWS_WITH_AS(
      conv2d(x, zeros({3, 4, 6, 2})),
      "conv2d: a window must fit into the padded image; got kernel = 6 x 2, stride = 1 x 1, padding = 0 "
      "x 0, dilation = 1 x 1 for x [1, 4, 5, 5]",
      ShapeError);
  CHECK_THROWS_WITH_AS(patch_embed(x[0], zeros({3, 4, 2, 2})),
                       "patch_embed: x must be [N, C, H, W] and w [D, C, k, l]; got x [4, 5, 5] and w [3, 4, 2, 2]",
                       ShapeError);
}
