#include "ops/scan.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// y along `axis` from step(index of the element, the value before it or nothing), in order or from the end.
Tensor naive_scan(const Shape& shape, int axis, bool reverse,
                  const std::function<double(const std::vector<i64>&, const double*)>& step) {
  Tensor y = empty(shape, DType::f64);
  Shape lines = shape;
  lines[axis] = std::min<i64>(shape[axis], 1);
  for_each_index(lines, [&](std::vector<i64> at) {
    double before = 0;
    for (i64 i = 0; i < shape[axis]; ++i) {
      at[static_cast<std::size_t>(axis)] = reverse ? shape[axis] - 1 - i : i;
      before = step(at, i == 0 ? nullptr : &before);
      set_value(y, at, before);
    }
  });
  return y;
}

const std::pair<Shape, int> kRows[] = {
    {{5}, 0},    {{1}, 0},    {{3, 4}, 0},    {{3, 4}, 1},     {{2, 4, 3}, 1},
    {{0, 3}, 1}, {{3, 0}, 1}, {{2, 1, 2}, 1}, {{2, 3, 300}, 1}};  // more columns than a strip has

}  // namespace

TEST_CASE("op: linear_scan: both directions, every axis, broadcast operands, order 2") {
  for (const auto& [shape_, axis_] : kRows)
    for (const bool reverse : {false, true}) {
      const Shape shape = shape_;
      const int axis = axis_;
      check_op({.name = "linear_scan",
                .op = [=](Args x) { return linear_scan(x[0], x[1], axis - shape.rank(), reverse); },
                .reference =
                    [=](Args x) {
                      return naive_scan(shape, axis, reverse, [&](const std::vector<i64>& at, const double* before) {
                        return value_at(x[1], at) + (before ? value_at(x[0], at) * *before : 0);
                      });
                    },
                .inputs = {shape, shape}});
    }
  for (const bool reverse : {false, true})
    check_op({.name = "linear_scan",
              .op = [=](Args x) { return linear_scan(x[0], x[1], 1, reverse); },
              .reference =
                  [=](Args x) {
                    return naive_scan({2, 4, 3}, 1, reverse, [&](const std::vector<i64>& at, const double* before) {
                      return value_at(x[1], {at[1], 0}) + (before ? value_at(x[0], {at[0], 0, at[2]}) * *before : 0);
                    });
                  },
              .inputs = {{2, 1, 3}, {4, 1}}});
}

TEST_CASE("op: linear_scan: the first factor is not read, integers wrap around") {
  const Tensor a = tensor({std::nan(""), 2, 0, 3}, DType::f64).requires_grad_(), b = tensor({1, 1, 1, 1}, DType::f64);
  const Tensor y = linear_scan(a, b, 0);
  CHECK(y.to_vector<double>() == std::vector<double>{1, 3, 1, 4});
  CHECK(grad(y, {a}, ones({4}, DType::f64))[0].to_vector<double>() == std::vector<double>{0, 1, 12, 1});
  const Tensor big = from_vector(std::vector<i64>{1, std::numeric_limits<i64>::max()}, {2});
  CHECK(linear_scan(big, big, 0).to_vector<i64>() == std::vector<i64>{1, -2});
}

TEST_CASE("op: cumprod: zeros among the factors, every axis, order 2") {
  for (const auto& [shape_, axis_] : kRows) {
    const Shape shape = shape_;
    const int axis = axis_;
    const auto reference = [=](Args x) {
      return naive_scan(shape, axis, false, [&](const std::vector<i64>& at, const double* before) {
        return value_at(x[0], at) * (before ? *before : 1);
      });
    };
    check_op({.name = "cumprod",
              .op = [=](Args x) { return cumprod(x[0], axis - shape.rank()); },
              .reference = reference,
              .inputs = {shape}});
    const Tensor zeros_in = random_tensor(shape, 3, -2, 2, DType::i32);  // whole numbers: many are 0
    Tensor values = empty(shape, DType::f64);
    for_each_index(shape, [&](const std::vector<i64>& at) { set_value(values, at, value_at(zeros_in, at)); });
    check_op({.name = "cumprod",
              .op = [=](Args x) { return cumprod(x[0], axis); },
              .reference = reference,
              .inputs = {Input::at(values)}});
  }
  CHECK(cumprod(tensor({2, 3, 4}, DType::i32), 0).to_vector<i64>() == std::vector<i64>{2, 6, 24});
  CHECK(cumprod(tensor({1, 1, 1, 0, 1}, DType::boolean), 0).to_vector<i64>() == std::vector<i64>{1, 1, 1, 0, 0});
  CHECK(cumprod(tensor({2}, DType::i32), 0).dtype() == DType::i64);
}

TEST_CASE("op: logcumsumexp: every axis, order 2") {
  for (const auto& [shape_, axis_] : kRows) {
    const Shape shape = shape_;
    const int axis = axis_;
    check_op({.name = "logcumsumexp",
              .op = [=](Args x) { return logcumsumexp(x[0], axis - shape.rank()); },
              .reference =
                  [=](Args x) {
                    return naive_scan(shape, axis, false, [&](const std::vector<i64>& at, const double* before) {
                      return std::log(std::exp(value_at(x[0], at)) + (before ? std::exp(*before) : 0));
                    });
                  },
              .inputs = {Input(shape, -3, 3)}});
  }
}

TEST_CASE("op: logcumsumexp: large values, whose rounding must not reach the gradient") {
  check_op({.name = "logcumsumexp",
            .op = [](Args x) { return logcumsumexp(x[0], 1); },
            .reference =
                [](Args x) {
                  return naive_scan({3, 6}, 1, false, [&](const std::vector<i64>& at, const double* before) {
                    return std::log(std::exp(value_at(x[0], at)) + (before ? std::exp(*before) : 0));
                  });
                },
            .inputs = {Input({3, 6}, 98, 102)}});
}

TEST_CASE("op: logcumsumexp: wide ranges, infinities and their gradients") {
  const double inf = INFINITY;
  const Tensor x = tensor({-inf, -inf, -1000, -inf, 1000, 999}, DType::f64).requires_grad_();
  const Tensor y = logcumsumexp(x, 0);
  const std::vector<double> v = y.to_vector<double>();
  CHECK(v[0] == -inf);
  CHECK(v[1] == -inf);
  CHECK(v[2] == -1000);
  CHECK(v[3] == -1000);
  CHECK(v[4] == 1000);
  CHECK(v[5] == doctest::Approx(1000 + std::log1p(std::exp(-1))));
  const Tensor g = grad(y, {x}, ones({6}, DType::f64), {.create_graph = true})[0];
  const std::vector<double> d = g.to_vector<double>();
  const double p = 1 / (1 + std::exp(-1));
  CHECK(d[0] == 0);
  CHECK(d[1] == 0);
  CHECK(d[2] == 2);
  CHECK(d[3] == 0);
  CHECK(d[4] == doctest::Approx(1 + p));
  CHECK(d[5] == doctest::Approx(1 - p));
  for (const double h : grad(g, {x}, tensor({1, 2, 3, 4, 5, 6}, DType::f64))[0].to_vector<double>())
    CHECK(std::isfinite(h));
  const std::vector<double> top = logcumsumexp(tensor({1, inf, 2, inf}, DType::f64), 0).to_vector<double>();
  CHECK(top == std::vector<double>{1, inf, inf, inf});
  CHECK(std::isnan(logcumsumexp(tensor({1, std::nan(""), 2}), 0).to_vector<float>()[2]));
}

TEST_CASE("op: scans: many columns, the same bits for one, two and three threads") {
  const int threads = num_threads();
  const Tensor a = random_tensor({300, 40, 7}, 1, -1, 1, DType::f32),
               b = random_tensor({300, 40, 7}, 2, -1, 1, DType::f32);
  set_num_threads(1);
  const auto y = linear_scan(a, b, 1, true).to_vector<float>(), z = logcumsumexp(a, 0).to_vector<float>();
  for (int count : {2, 3}) {
    set_num_threads(count);
    CHECK(linear_scan(a, b, 1, true).to_vector<float>() == y);
    CHECK(logcumsumexp(a, 0).to_vector<float>() == z);
  }
  set_num_threads(threads);
}

TEST_CASE("op: scans: error texts") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(linear_scan(x, zeros({4}), 0),
                       "linear_scan: sizes must match or be 1, from the last axis on; got a [2, 3] and b [4] (3 != 4)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(linear_scan(x, x, 2), "linear_scan: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(linear_scan(x, zeros({3}, DType::f64), 0),
                       "linear_scan: operands must have one dtype; got f32 [2, 3] and f64 [3]", DTypeError);
  const Tensor mask = zeros({3}, DType::boolean);
  CHECK_THROWS_WITH_AS(linear_scan(mask, mask, 0), "linear_scan: x must be f32, f64, bf16, i32 or i64; got bool",
                       DTypeError);
  const Tensor large = expand(mask, {i64{1} << 50, 3});  // refused before a result is allocated
  CHECK_THROWS_WITH_AS(linear_scan(large, large, 0), "linear_scan: x must be f32, f64, bf16, i32 or i64; got bool",
                       DTypeError);
  CHECK_THROWS_WITH_AS(cumprod(x, -3), "cumprod: axis must be in [-2, 2); got -3 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(cumprod(scalar(1), 0), "cumprod: axis must be in [0, 0); got 0 for x []", ShapeError);
  CHECK_THROWS_WITH_AS(logcumsumexp(x, 2), "logcumsumexp: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(logcumsumexp(zeros({2}, DType::i64), 0), "logcumsumexp: x must be f32, f64 or bf16; got i64",
                       DTypeError);
}
