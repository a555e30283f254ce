#include "ops/normalize.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// The elements of x along `axis` through `at`.
std::vector<double> line(const Tensor& x, std::vector<i64> at, int axis) {
  std::vector<double> values;
  for (i64 i = 0; i < x.dim(axis); ++i) {
    at[static_cast<std::size_t>(axis)] = i;
    values.push_back(value_at(x, at));
  }
  return values;
}

double length_of(const std::vector<double>& v, double p) {
  double total = 0;
  for (const double e : v) total = std::isinf(p) ? std::max(total, std::abs(e)) : total + std::pow(std::abs(e), p);
  return std::isinf(p) ? total : std::pow(total, 1 / p);
}

// scale * x / max(norm, eps), times w if there is one
std::function<Tensor(Args)> naive(double p, int axis, double eps, double scale = 1) {
  return [=](Args in) {
    Tensor y = empty(in[0].shape(), DType::f64);
    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
      const double w = in.size() > 1 ? value_at(in[1], {at.back()}) : 1;
      set_value(y, at, w * scale * value_at(in[0], at) / std::max(length_of(line(in[0], at, axis), p), eps));
    });
    return y;
  };
}

}  // namespace

TEST_CASE("normalize: forward, gradient, second order, over each axis and for several p") {
  for (const double p : {1.0, 2.0, 3.0, 0.5, static_cast<double>(INFINITY)})
    for (const int axis : {0, 1, 2})
      check_op({.name = "normalize",
                .op = [&](Args x) { return normalize(x[0], p, axis); },
                .reference = naive(p, axis, 1e-12),
                .inputs = {Input({2, 3, 4}, 0.2, 1)}});
  for (const Shape& shape : {Shape{0, 3}, Shape{3, 0}, Shape{1, 1}})
    check_op({.name = "normalize",
              .op = [](Args x) { return normalize(x[0]); },
              .reference = naive(2, 1, 1e-12),
              .inputs = {Input(shape, 0.2, 1)}});
}

TEST_CASE("normalize: a short vector is divided by eps, also by the gradient; the zero vector stays zero") {
  check_op({.name = "normalize",
            .op = [](Args x) { return normalize(x[0], 2, -1, 5); },
            .reference = naive(2, 1, 5),
            .inputs = {{3, 4}}});
  Tensor x = zeros({1, 2}, DType::f64);
  x.requires_grad_();
  const Tensor y = normalize(x, 2, 1, 0.5);
  CHECK_EQ(difference(y, zeros({1, 2}, DType::f64)), 0);
  CHECK_EQ(difference(grad(y, {x}, ones({1, 2}, DType::f64))[0], full({1, 2}, 2, DType::f64)), 0);
}

TEST_CASE("rms_norm_l2: forward, gradient, second order, with and without scale") {
  for (const Shape& shape : {Shape{3, 5}, Shape{2, 3, 4}, Shape{6}, Shape{0, 3}}) {
    const double root = std::sqrt(static_cast<double>(shape.back()));
    check_op({.name = "rms_norm_l2",
              .op = [](Args x) { return rms_norm_l2(x[0], x[1]); },
              .reference = naive(2, shape.rank() - 1, 1e-12, root),
              .inputs = {Input(shape, 0.2, 1), Shape{shape.back()}}});
    check_op({.name = "rms_norm_l2",
              .op = [](Args x) { return rms_norm_l2(x[0], {}, 5); },
              .reference = naive(2, shape.rank() - 1, 5, root),
              .inputs = {shape}});
  }
}

TEST_CASE("cosine_similarity: forward, gradient, second order, broadcast, below eps") {
  const auto naive_cosine = [](double eps) {
    return [eps](Args in) {  // a [3, 4], b [3, 4] or [4]
      Tensor y = zeros({3}, DType::f64);
      for (i64 i = 0; i < 3; ++i) {
        const std::vector<double> a = line(in[0], {i, 0}, 1);
        const std::vector<double> b = in[1].rank() == 2 ? line(in[1], {i, 0}, 1) : line(in[1], {0}, 0);
        double dot = 0;
        for (std::size_t k = 0; k < 4; ++k) dot += a[k] * b[k];
        set_value(y, {i}, dot / (std::max(length_of(a, 2), eps) * std::max(length_of(b, 2), eps)));
      }
      return y;
    };
  };
  for (const double eps : {1e-8, 10.0})
    for (const Shape& b : {Shape{3, 4}, Shape{4}})
      check_op({.name = "cosine_similarity",
                .op = [&](Args x) { return cosine_similarity(x[0], x[1], -1, eps); },
                .reference = naive_cosine(eps),
                .inputs = {Input({3, 4}, 0.2, 1), b}});
  check_op({.name = "cosine_similarity",
            .op = [](Args x) { return cosine_similarity(x[0], x[1]); },
            .inputs = {Input({0, 4}), {0, 4}}});
  // Broadcast in any direction is as if it were written out.
  for (const auto& [p, q] :
       {std::pair<Shape, Shape>{{3, 4}, {4}}, {{3, 4}, {1, 4}}, {{3, 4}, {3, 1}}, {{3, 4}, {}}, {{3, 1}, {4}}})
    for (const int axis : {0, 1}) {
      CAPTURE(axis);
      const Tensor a = random_tensor(p, 1, 0.2, 1), b = random_tensor(q, 2, 0.2, 1);
      const Tensor full = cosine_similarity(contiguous(expand(a, {3, 4})), contiguous(expand(b, {3, 4})), axis);
      CHECK_LE(difference(cosine_similarity(a, b, axis), full), 1e-15);
      check_op({.name = "cosine_similarity",
                .op = [&](Args x) { return cosine_similarity(x[0], x[1], axis); },
                .inputs = {Input(p, 0.2, 1), Input(q, 0.2, 1)}});
    }
  const Tensor x = random_tensor({2, 3}, 1);
  CHECK_LE(difference(cosine_similarity(x, x * 1e6), ones({2}, DType::f64)), 1e-15);
}

TEST_CASE("normalize: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(normalize(x, 2, 2), "normalize: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(normalize(x, 2, 1, 0), "normalize: eps must be > 0; got eps = 0", Error);
  CHECK_THROWS_WITH_AS(normalize(zeros({2, 3}, DType::i64)), "normalize: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(rms_norm_l2(x, zeros({2})),
                       "rms_norm_l2: w must have the size of the last axis of x; got w [2] and x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(rms_norm_l2(scalar(1), {}), "rms_norm_l2: x must have a last axis; got x []", ShapeError);
  CHECK_THROWS_WITH_AS(rms_norm_l2(x, zeros({3}, DType::f64)),
                       "rms_norm_l2: operands must have one dtype; got f32 [2, 3] and f64 [3]", DTypeError);
  CHECK_THROWS_WITH_AS(
      cosine_similarity(x, zeros({4})),
      "cosine_similarity: sizes must match or be 1, from the last axis on; got a [2, 3] and b [4] (3 != 4)",
      ShapeError);
  CHECK_THROWS_WITH_AS(cosine_similarity(zeros({2, 3}, DType::i64), zeros({2, 3}, DType::i64)),
                       "cosine_similarity: x must be f32, f64 or bf16; got i64", DTypeError);
}
