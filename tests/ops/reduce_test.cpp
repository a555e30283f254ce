#include "ops/reduce.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/reduce_loops.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Folds every element into its place by f, from `first` on; the result keeps the reduced axes.
// Element by element, so on the CPU.
Tensor naive_kept(const Tensor& x_any, const Axes& axes, double first, const std::function<double(double, double)>& f) {
  const DeviceScope scope(Device::cpu);
  const Tensor x = x_any.to(Device::cpu);
  Shape shape = x.shape();
  for (int a : axes) shape[a < 0 ? a + x.rank() : a] = 1;
  Tensor y = full(shape, first, DType::f64);
  for_each_index(x.shape(), [&](std::vector<i64> at) {
    const double v = value_at(x, at);
    for (int i = 0; i < x.rank(); ++i)
      if (shape[i] == 1) at[static_cast<std::size_t>(i)] = 0;
    set_value(y, at, f(value_at(y, at), v));
  });
  return y;
}
double larger(double a, double b) { return a > b || std::isnan(a) ? a : b; }
double smaller(double a, double b) { return a < b || std::isnan(a) ? a : b; }

const std::pair<Shape, Axes> kRows[] = {
    {{3, 5}, {0}},    {{3, 5}, {1}},          {{3, 5}, {0, 1}},       {{3, 5}, {}},
    {{}, {}},         {{1, 1}, {1}},          {{2, 3, 4}, {0, 2}},    {{2, 3, 4}, {-1, 0}},
    {{2, 3, 4}, {1}}, {{2, 3, 2, 3}, {0, 2}}, {{2, 3, 2, 3}, {1, 3}}, {{1, 3, 1, 2}, {0, 2}},
    {{5, 40}, {1}},   {{40, 5}, {0}},         {{2, 70, 2}, {1}},      {{2, 1, 33}, {2}},
};

}  // namespace

TEST_CASE("sum and mean: any set of axes, order 2, strided") {
  for (const auto& [shape, axes_] : kRows) {
    const Axes axes = axes_;
    CAPTURE(to_string(shape));
    CAPTURE(to_string(axes));
    const auto plus = [](double a, double b) { return a + b; };
    check_op({.name = "sum",
              .op = [=](Args x) { return sum(x[0], axes, keep_dims); },
              .reference = [=](Args x) { return naive_kept(x[0], axes, 0, plus); },
              .inputs = {shape}});
    check_op({.name = "mean", .op = [=](Args x) { return square(mean(x[0], axes)); }, .inputs = {shape}});
    const double n = static_cast<double>(shape.elements() / naive_kept(zeros(shape), axes, 0, plus).size());
    check_op({.name = "mean",
              .op = [=](Args x) { return mean(x[0], axes, keep_dims); },
              .reference =
                  [=](Args x) {
                    const Tensor y = naive_kept(x[0], axes, 0, plus);
                    std::vector<double> v = y.to_vector<double>();
                    for (double& e : v) e /= n;
                    return from_vector(v, y.shape());
                  },
              .inputs = {shape}});
  }
}

TEST_CASE("amax and amin: any set of axes, order 2, strided") {
  for (const auto& [shape, axes_] : kRows) {
    const Axes axes = axes_;
    CAPTURE(to_string(shape));
    CAPTURE(to_string(axes));
    check_op({.name = "amax",
              .op = [=](Args x) { return amax(x[0], axes, keep_dims); },
              .reference = [=](Args x) { return naive_kept(x[0], axes, -INFINITY, larger); },
              .inputs = {shape}});
    check_op({.name = "amin",
              .op = [=](Args x) { return amin(x[0], axes, keep_dims); },
              .reference = [=](Args x) { return naive_kept(x[0], axes, INFINITY, smaller); },
              .inputs = {shape}});
  }
}

TEST_CASE("reductions: shapes with and without keep_dims, empty tensors") {
  const Tensor x = zeros({2, 3, 4});
  CHECK(sum(x, {0, 2}).shape() == Shape{3});
  CHECK(sum(x, {0, 2}, keep_dims).shape() == Shape{1, 3, 1});
  CHECK(sum(x).shape() == Shape{});
  CHECK(amax(x, -1, keep_dims).shape() == Shape{2, 3, 1});
  CHECK(sum(zeros({0, 3}), 0).to_vector<float>() == std::vector<float>{0, 0, 0});
  CHECK(sum(zeros({0, 3}), 1).shape() == Shape{0});
  CHECK(mean(zeros({0, 3}), 1).shape() == Shape{0});
  CHECK(amax(zeros({0, 3}), 1).shape() == Shape{0});
  check_op({.name = "sum", .op = [](Args a) { return sum(a[0], 0); }, .inputs = {{0, 3}}});
  const Tensor y = ones({3});
  CHECK(sum(y, Axes{}).body().storage != y.body().storage);
}

TEST_CASE("reductions: integers and bool") {
  for (DType t : {DType::i32, DType::i64, DType::boolean}) {
    const Tensor y = sum(tensor({{1, 0, 1}, {1, 1, 0}}, t), 1);
    CHECK(y.dtype() == DType::i64);
    CHECK(y.to_vector<i64>() == std::vector<i64>{2, 2});
    CHECK(sum(full({3, 100}, 1, t), {0, 1}).item() == 300);
  }
  CHECK(sum(full({2}, 2147483647, DType::i32)).item() == 4294967294.0);
  CHECK(sum(full({2}, 0x1p62, DType::i64)).item() == -0x1p63);  // wraps around
  const Tensor x = tensor({{3, -7}, {5, 1}}, DType::i32);
  CHECK(amax(x, 0).dtype() == DType::i32);
  CHECK(amax(x, 0).to_vector<i64>() == std::vector<i64>{5, 1});
  CHECK(amin(x).item() == -7);
}

TEST_CASE("amax and amin: NaN wins wherever it stands, infinities, ties share the gradient") {
  for (i64 at : {0, 1, 5, 16, 40, 99}) {
    std::vector<double> v(100, -INFINITY);
    v[static_cast<std::size_t>(at)] = std::nan("");
    for (const Shape& shape : {Shape{100, 1}, Shape{1, 100}, Shape{25, 4}})
      for (int axis : {0, 1}) {
        const Tensor x = from_vector(v, shape);
        CHECK(std::isnan(sum(amax(x, axis)).item()));
        CHECK(std::isnan(sum(amin(x, axis)).item()));
      }
  }
  CHECK(amax(full({20}, -INFINITY)).item() == -INFINITY);
  CHECK(amin(full({20}, INFINITY)).item() == INFINITY);
  const Tensor x = tensor({{1, 3, 3}, {2, 2, 2}}, DType::f64).requires_grad_();
  const std::vector<double> g = grad(amax(x, 1), {x}, ones({2}, DType::f64))[0].to_vector<double>();
  CHECK(g == std::vector<double>{0, 0.5, 0.5, 1.0 / 3, 1.0 / 3, 1.0 / 3});
}

TEST_CASE("reductions: large tensors in every layout, the same bits for one, two and three threads") {
  const int threads = num_threads();
  const Tensor a = random_tensor({37, 90, 70}, 1, -1, 1), b = random_tensor({2, 3000, 50}, 2),
               c = random_tensor({40000, 3}, 3), d = random_tensor({3, 20000}, 4);
  const Tensor views[] = {a,
                          permute(a, {2, 0, 1}),
                          slice(a, 2, {1, kEnd, 3}),
                          flip(a, 1),
                          b,
                          transpose(b),
                          c,
                          d,
                          expand(slice(d, 0, {0, 1}), {4, 20000}),
                          transpose(expand(slice(c, 1, {0, 1}), {40000, 2}))};
  for (const Tensor& x : views)
    for (int bits = 0; bits < 1 << x.rank(); ++bits) {
      Axes axes;
      for (int i = 0; i < x.rank(); ++i)
        if (bits >> i & 1) axes.push_back(i);
      CAPTURE(to_string(x.shape()));
      CAPTURE(to_string(x.strides()));
      CAPTURE(to_string(axes));
      set_num_threads(1);
      const Tensor y = sum(x, axes, keep_dims);
      CHECK(y.is_contiguous());
      CHECK(difference(y, naive_kept(x, axes, 0, [](double p, double q) { return p + q; })) < 1e-11);
      CHECK(difference(amax(x, axes, keep_dims), naive_kept(x, axes, -INFINITY, larger)) == 0);
      for (int count : {2, 3}) {
        set_num_threads(count);
        CHECK(sum(x, axes, keep_dims).to_vector<double>() == y.to_vector<double>());
      }
    }
  set_num_threads(threads);
}

TEST_CASE("sum: rounding errors stay small over a million f32 values, along either axis") {
  const Tensor x = full({1 << 20, 1}, 0.1);
  const double expected = 0.1f * static_cast<double>(1 << 20);
  for (const Shape& shape :
       {Shape{1 << 20, 1}, Shape{1, 1 << 20}, Shape{16, 1 << 16}, Shape{1 << 16, 16}, Shape{1 << 10, 1 << 10}})
    for (int axis : {0, 1}) {
      CAPTURE(to_string(shape));
      CAPTURE(axis);
      CHECK(std::abs(sum(sum(reshape(x, shape), axis)).item() / expected - 1) < 3e-6);
    }
}

TEST_CASE("sum_to: the adjoint of expand") {
  check_op({.name = "sum_to",
            .op =
                [](Args x) {
                  return sum_to(x[0], {3, 1});
                },
            .reference =
                [](Args x) {
                  return from_vector(
                      naive_kept(x[0], {0, 2}, 0, [](double a, double b) { return a + b; }).to_vector<double>(),
                      {3, 1});
                },
            .inputs = {{2, 3, 4}}});
  CHECK(sum_to(ones({2, 3}), {}).item() == 6);
  CHECK_THROWS_WITH_AS(sum_to(ones({2, 3}), {2}), "sum_to: the shape must broadcast to that of x; got [2] for x [2, 3]",
                       InternalError);
}

TEST_CASE("reductions: error texts") {
  const Tensor x = zeros({2, 0, 3});
  CHECK_THROWS_WITH_AS(sum(x, 3), "sum: axis must be in [-3, 3); got 3 for x [2, 0, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(sum(x, {0, -3}), "sum: an axis must be named once; got [0, -3] for x [2, 0, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(sum(scalar(1), 0), "sum: axis must be in [0, 0); got 0 for x []", ShapeError);
  CHECK_THROWS_WITH_AS(mean(x, 1), "mean: there must be elements to average; got axes [1] of x [2, 0, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(mean(zeros({2}, DType::i64)), "mean: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(amax(x, {1, 2}), "amax: there must be elements to compare; got axes [1, 2] of x [2, 0, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(amin(zeros({2}, DType::boolean)), "amin: x must be f32, f64, bf16, i32 or i64; got bool",
                       DTypeError);
}

TEST_CASE("prod: any set of axes, order 2, strided") {
  for (const auto& [shape, axes_] : kRows) {
    const Axes axes = axes_;
    CAPTURE(to_string(shape));
    CAPTURE(to_string(axes));
    check_op({.name = "prod",
              .op = [=](Args x) { return prod(x[0], axes, keep_dims); },
              .reference = [=](Args x) { return naive_kept(x[0], axes, 1, [](double a, double b) { return a * b; }); },
              .inputs = {Input(shape, 0.5, 1.5)},
              .order = shape.elements() > 100 ? 1 : 2});
  }
}

TEST_CASE("prod: gradients of order 1 and 2 with one zero, two zeros, only zeros; empty; integers") {
  for (const Tensor& x : {tensor({2, 0, 3, -1}, DType::f64), tensor({2, 0, 3, 0, 5}, DType::f64),
                          tensor({0, 0, 0}, DType::f64), tensor({0}, DType::f64), tensor({0, 2}, DType::f64)})
    check_op({.name = "prod", .op = [](Args a) { return prod(a[0]); }, .inputs = {Input::at(x)}});
  const Tensor x = tensor({2, 0, 3}, DType::f64).requires_grad_();
  CHECK(grad(prod(x), {x})[0].to_vector<double>() == std::vector<double>{0, 6, 0});
  CHECK(prod(zeros({2, 0}), 1).to_vector<float>() == std::vector<float>{1, 1});
  CHECK(prod(tensor({3, -4}, DType::i32)).dtype() == DType::i64);
  CHECK(prod(tensor({3, -4}, DType::i32)).item() == -12);
  CHECK(prod(tensor({1, 0}, DType::boolean)).item() == 0);
  CHECK_THROWS_WITH_AS(prod(zeros({2}), 1), "prod: axis must be in [-1, 1); got 1 for x [2]", ShapeError);
}

TEST_CASE("any, all, count_nonzero: every dtype, any axes, NaN, empty") {
  using Bits = std::vector<i64>;
  for (DType t : {DType::f32, DType::f64, DType::i32, DType::i64, DType::boolean}) {
    const Tensor x = tensor({{1, 0, 1}, {1, 0, 0}}, t);
    CHECK(any(x, 0).dtype() == DType::boolean);
    CHECK(any(x, 0).to_vector<i64>() == Bits{1, 0, 1});
    CHECK(all(x, 0).to_vector<i64>() == Bits{1, 0, 0});
    CHECK(any(x).item() == 1);
    CHECK(all(x, -1, keep_dims).shape() == Shape{2, 1});
    CHECK(count_nonzero(x, 1).to_vector<i64>() == Bits{2, 1});
    CHECK(count_nonzero(x).dtype() == DType::i64);
    CHECK(count_nonzero(transpose(x), {0, 1}).item() == 3);
  }
  CHECK(all(tensor({std::nan(""), 0.25})).item() == 1);
  CHECK(count_nonzero(tensor({std::nan(""), 0.25, -0.0})).item() == 2);
  CHECK(any(zeros({2, 0}), 1).to_vector<i64>() == Bits{0, 0});
  CHECK(all(zeros({2, 0}), 1).to_vector<i64>() == Bits{1, 1});
  CHECK(any(full({3, 100000}, 0)).item() == 0);
  CHECK_THROWS_WITH_AS(any(zeros({2}), 1), "any: axis must be in [-1, 1); got 1 for x [2]", ShapeError);
  CHECK_THROWS_WITH_AS(all(zeros({2}), {0, 0}), "all: an axis must be named once; got [0, 0] for x [2]", ShapeError);
  CHECK_THROWS_WITH_AS(count_nonzero(zeros({2}), 1), "count_nonzero: axis must be in [-1, 1); got 1 for x [2]",
                       ShapeError);
}

TEST_CASE("amax, amin, mean, prod, sum_to: no rows to reduce") {
  check_op({.name = "amax", .op = [](Args x) { return amax(x[0], 1); }, .inputs = {{0, 3}}});
  check_op({.name = "amin", .op = [](Args x) { return amin(x[0], 1); }, .inputs = {{0, 3}}});
  check_op({.name = "mean", .op = [](Args x) { return mean(x[0], 1); }, .inputs = {{0, 3}}});
  check_op({.name = "prod", .op = [](Args x) { return prod(x[0], 1); }, .inputs = {{0, 3}}});
  check_op({.name = "prod", .op = [](Args x) { return prod(x[0], 0); }, .inputs = {{0, 3}}});
  check_op({.name = "sum_to", .op = [](Args x) { return sum_to(x[0], Shape{3}); }, .inputs = {{0, 3}}});
}

TEST_CASE("any, all, count_nonzero: any set of axes, strided, sizes 0 and 1") {
  const auto check = [](const Tensor& x, const Axes& axes) {
    const auto fold = [=](double first, double (*f)(double, double)) {
      return [=](Args a) { return naive_kept(a[0], axes, first, f); };
    };
    check_op({.name = "any",
              .op = [=](Args a) { return any(a[0], axes, keep_dims); },
              .reference = fold(0, [](double a, double b) { return a != 0 || b != 0 ? 1.0 : 0.0; }),
              .inputs = {Input::fixed(x)},
              .order = 0});
    check_op({.name = "all",
              .op = [=](Args a) { return all(a[0], axes, keep_dims); },
              .reference = fold(1, [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0.0; }),
              .inputs = {Input::fixed(x)},
              .order = 0});
    check_op({.name = "count_nonzero",
              .op = [=](Args a) { return count_nonzero(a[0], axes, keep_dims); },
              .reference = fold(0, [](double a, double b) { return a + (b != 0); }),
              .inputs = {Input::fixed(x)},
              .order = 0});
  };
  for (DType t : {DType::f64, DType::i32, DType::i64, DType::boolean}) {
    for (const Axes& axes : {Axes{0}, Axes{1}, Axes{0, 1}, Axes{}})
      check(tensor({{1, 0, 1, 1}, {1, 0, 0, 1}, {1, 0, 0, 0}}, t), axes);
    check(zeros({0, 3}, t), {0});
    check(zeros({0, 3}, t), {1});
    check(ones({1}, t), {0});
  }
}
