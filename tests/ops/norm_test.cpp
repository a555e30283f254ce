#include "ops/norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// x, then w and b where there are any.
std::function<Tensor(Args)> naive(bool centred, double eps) {
  return [=](Args in) {
    const Tensor& x = in[0];
    const i64 n = x.dim(-1);
    Tensor y = empty(x.shape(), DType::f64);
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      std::vector<i64> other = at;
      double mean = 0, square = 0;
      const auto each = [&](auto f) {
        for (i64 i = 0; i < n; ++i) {
          other.back() = i;
          f(value_at(x, other));
        }
      };
      if (centred) each([&](double v) { mean += v / static_cast<double>(n); });
      each([&](double v) { square += (v - mean) * (v - mean) / static_cast<double>(n); });
      double v = (value_at(x, at) - mean) / std::sqrt(square + eps);
      if (in.size() > 1) v *= value_at(in[1], {at.back()});
      if (in.size() > 2) v += value_at(in[2], {at.back()});
      set_value(y, at, v);
    });
    return y;
  };
}

const Shape kShapes[] = {{3, 5}, {2, 3, 4}, {6}, {4, 2}, {0, 3}, {1, 40}};

}  // namespace

TEST_CASE("norm: layer_norm forward, gradient, second order, with and without scale and shift") {
  for (const Shape& shape : kShapes) {
    CAPTURE(to_string(shape));
    const Shape last{shape.back()};
    check_op({.name = "layer_norm",
              .op = [](Args x) { return layer_norm(x[0], x[1], x[2]); },
              .reference = naive(true, 1e-5),
              .inputs = {shape, last, last}});
    check_op({.name = "layer_norm",
              .op = [](Args x) { return layer_norm(x[0], x[1], {}, 0.1); },
              .reference = naive(true, 0.1),
              .inputs = {shape, last}});
    check_op({.name = "layer_norm",
              .op = [](Args x) { return layer_norm(x[0], {}, {}, 0.1); },
              .reference = naive(true, 0.1),
              .inputs = {shape}});
  }
  check_op({.name = "layer_norm", .op = [](Args x) { return layer_norm(x[0], {}, x[1]); }, .inputs = {{3, 5}, {5}}});
}

TEST_CASE("norm: layer_norm over the last two axes is that of the two joined") {
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{3, 4}, Shape{0, 3, 4}}) {
    const auto joined = [&](const Tensor& x) { return contiguous(flatten(x, x.rank() - 2, -1)); };
    check_op({.name = "layer_norm",
              .op =
                  [](Args x) {
                    return layer_norm(x[0], {3, 4}, x[1], x[2]);
                  },
              .reference =
                  [&](Args x) {
                    std::vector<Tensor> flat;
                    for (const Tensor& t : x) flat.push_back(joined(t));
                    return reshape(naive(true, 1e-5)(flat), shape);
                  },
              .inputs = {shape, {3, 4}, {3, 4}}});
  }
  const Tensor x = random_tensor({2, 3, 4}, 1);
  CHECK_EQ(difference(layer_norm(x, {4}, {}, {}), layer_norm(x, {}, {})), 0);
  CHECK_THROWS_WITH_AS(layer_norm(x, {2, 4}, {}, {}),
                       "layer_norm: x must end in the sizes to normalise over; got sizes [2, 4] and x [2, 3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer_norm(x, Shape{}, {}, {}),
                       "layer_norm: x must end in the sizes to normalise over; got sizes [] and x [2, 3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer_norm(x, {3, 4}, {}, zeros({4}, DType::f64)),
                       "layer_norm: b must have the sizes to normalise over; got b [4] and sizes [3, 4]", ShapeError);
}

TEST_CASE("norm: rms_norm forward, gradient, second order, with and without scale") {
  for (const Shape& shape : kShapes) {
    CAPTURE(to_string(shape));
    check_op({.name = "rms_norm",
              .op = [](Args x) { return rms_norm(x[0], x[1]); },
              .reference = naive(false, 1e-6),
              .inputs = {shape, Shape{shape.back()}}});
    check_op({.name = "rms_norm",
              .op = [](Args x) { return rms_norm(x[0], {}, 0.1); },
              .reference = naive(false, 0.1),
              .inputs = {shape}});
  }
}

TEST_CASE("norm: many rows, whose gradients are added up in chunks") {
  for (const bool centred : {true, false}) {
    Tensor x = random_tensor({3000, 17}, 1), w = random_tensor({17}, 2), b = random_tensor({17}, 3);
    x.requires_grad_(), w.requires_grad_(), b.requires_grad_();
    const Tensor dy = random_tensor({3000, 17}, 4);
    const Tensor y = centred ? layer_norm(x, w, b) : rms_norm(x, w);
    std::vector<Tensor> wanted{x, w};
    if (centred) wanted.push_back(b);
    const int before = num_threads();
    set_num_threads(1);
    const auto one = grad(y, wanted, dy, {.retain_graph = true});
    set_num_threads(3);
    const auto three = grad(y, wanted, dy, {.retain_graph = true});
    set_num_threads(before);
    const auto twin = grad(y, wanted, dy, {.create_graph = true});
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CHECK_LE(difference(one[i], twin[i]), 1e-12);  // 3,000 terms, each rounded to 1e-16
      CHECK(one[i].to_vector<double>() == three[i].to_vector<double>());
    }
    const auto alone = grad(y, {w}, dy, {.retain_graph = true});  // only some gradients wanted
    CHECK_EQ(difference(alone[0], one[1]), 0);
  }
}

TEST_CASE("norm: a large mean does not cancel") {
  const Tensor x = tensor({10000, 10001, 10002, 10003});
  const double scale = std::sqrt(1.25 + 1e-5);
  CHECK_LE(difference(layer_norm(x, {}, {}), tensor({-1.5 / scale, -0.5 / scale, 0.5 / scale, 1.5 / scale})), 1e-6);
  CHECK_EQ(difference(layer_norm(full({2, 3}, 7), {}, {}), zeros({2, 3})), 0);
}

TEST_CASE("norm: errors name the op and the operands") {
  CHECK_THROWS_WITH_AS(layer_norm(zeros({2, 4}), zeros({3}), {}),
                       "layer_norm: w must have the size of the last axis of x; got w [3] and x [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(layer_norm(zeros({2, 4}), {}, zeros({1, 4})),
                       "layer_norm: b must have the size of the last axis of x; got b [1, 4] and x [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(rms_norm(zeros({2, 0}), {}), "rms_norm: x must have a last axis that is not empty; got x [2, 0]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(rms_norm(zeros({2}), {}, -1), "rms_norm: eps must be >= 0; got eps = -1", Error);
  CHECK_THROWS_WITH_AS(rms_norm(zeros({2}, DType::i32), {}), "rms_norm: x must be f32, f64 or bf16; got i32",
                       DTypeError);
}
