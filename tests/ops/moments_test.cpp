#include "ops/moments.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/reduce.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// The values of each group of x over `axes`, handed to f; the result keeps the reduced axes.
auto naive_groups(Axes axes, std::function<double(const std::vector<double>&)> f) {
  return [=](Args a) {
    const Tensor& x = a[0];
    Shape shape = x.shape();
    for (int k : axes) shape[k < 0 ? k + x.rank() : k] = 1;
    Tensor y = empty(shape, DType::f64);
    for_each_index(shape, [&](const std::vector<i64>& at) {
      std::vector<double> group;
      for_each_index(x.shape(), [&](const std::vector<i64>& from) {
        bool mine = true;
        for (int i = 0; i < x.rank(); ++i)
          mine = mine &&
                 (shape[i] != x.shape()[i] || from[static_cast<std::size_t>(i)] == at[static_cast<std::size_t>(i)]);
        if (mine) group.push_back(value_at(x, from));
      });
      set_value(y, at, f(group));
    });
    return y;
  };
}
double naive_var(const std::vector<double>& v, i64 correction) {
  double mean = 0, total = 0;
  for (double e : v) mean += e / static_cast<double>(v.size());
  for (double e : v) total += (e - mean) * (e - mean);
  return total / static_cast<double>(static_cast<i64>(v.size()) - correction);
}

const std::pair<Shape, Axes> kRows[] = {{{3, 5}, {0}}, {{3, 5}, {-1}}, {{3, 5}, {0, 1}}, {{2, 3, 4}, {0, 2}},
                                        {{4}, {0}},    {{2, 40}, {1}}, {{0, 3}, {1}}};

}  // namespace

TEST_CASE("var and stddev: any axes, either correction, order 2, strided") {
  for (const auto& [shape, axes_] : kRows)
    for (i64 correction : {0, 1}) {
      const Axes axes = axes_;
      const VarOptions o{correction, keep_dims};
      check_op({.name = "var",
                .op = [=](Args x) { return var(x[0], axes, o); },
                .reference = naive_groups(axes, [=](const std::vector<double>& v) { return naive_var(v, correction); }),
                .inputs = {shape}});
      check_op({.name = "stddev",
                .op = [=](Args x) { return stddev(x[0], axes, o); },
                .reference = naive_groups(
                    axes, [=](const std::vector<double>& v) { return std::sqrt(naive_var(v, correction)); }),
                .inputs = {shape}});
    }
}

TEST_CASE("var and stddev: defaults, shapes, offsets that would ruin one pass, equal values") {
  const Tensor x = tensor({{1, 2, 3}, {4, 4, 4}}, DType::f64).requires_grad_();
  CHECK(var(x, 1).to_vector<double>() == std::vector<double>{1, 0});
  CHECK(var(x, 1, {.correction = 0}).to_vector<double>()[0] == doctest::Approx(2.0 / 3));
  CHECK(var(x).shape() == Shape{});
  CHECK(stddev(x, {0, 1}, {.keep = true}).shape() == Shape{1, 1});
  const std::vector<double> g = grad(sum(stddev(x, 1)), {x})[0].to_vector<double>();
  CHECK(g == std::vector<double>{-0.5, 0, 0.5, 0, 0, 0});
  CHECK(var(tensor({1e8 + 1, 1e8 + 2, 1e8 + 3}, DType::f64)).item() == doctest::Approx(1));
  CHECK(var(tensor({7}), {.correction = 0}).item() == 0);
}

TEST_CASE("norm: p = 1, 2, infinity; any axes, order 2, strided") {
  const auto reference = [](double p) {
    return [p](const std::vector<double>& v) {
      double total = 0, most = 0;
      for (double e : v) total += p == 1 ? std::abs(e) : e * e, most = std::max(most, std::abs(e));
      return p == 1 ? total : p == 2 ? std::sqrt(total) : most;
    };
  };
  for (const auto& [shape, axes_] : kRows)
    for (double p : {1.0, 2.0, double{INFINITY}}) {
      const Axes axes = axes_;
      CAPTURE(p);
      check_op({.name = "norm",
                .op = [=](Args x) { return norm(x[0], p, axes, keep_dims); },
                .reference = naive_groups(axes, reference(p)),
                .inputs = {Input(shape, 0.1, 1)}});
      check_op({.name = "norm",
                .op = [=](Args x) { return norm(x[0], p, axes, keep_dims); },
                .reference = naive_groups(axes, reference(p)),
                .inputs = {Input(shape, -1, -0.1)}});
    }
  CHECK(norm(tensor({3, -4})).item() == 5);
  CHECK(norm(tensor({3, -4}), INFINITY).item() == 4);
  CHECK(norm(zeros({2, 0}), 2, 1).to_vector<float>() == std::vector<float>{0, 0});
}

TEST_CASE("norm: the gradient at 0 is 0, of every order that is asked for") {
  for (double p : {1.0, 2.0, double{INFINITY}}) {
    const Tensor x = zeros({3}, DType::f64).requires_grad_();
    const Tensor g = grad(norm(x, p), {x}, {.create_graph = true})[0];
    CHECK(g.to_vector<double>() == std::vector<double>(3, 0));
    if (g.requires_grad()) CHECK(std::isfinite(sum(grad(sum(g), {x})[0]).item()));
  }
  const Tensor tie = tensor({2, -2, 1}, DType::f64).requires_grad_();
  CHECK(grad(norm(tie, INFINITY), {tie})[0].to_vector<double>() == std::vector<double>{0.5, -0.5, 0});
}

TEST_CASE("var, stddev, norm: the same bits for one, two and three threads") {
  const int threads = num_threads();
  const Tensor x = random_tensor({300, 500}, 1, -1, 1, DType::f32);
  for (const Axes& axes : {Axes{0}, Axes{1}, Axes{0, 1}}) {
    set_num_threads(1);
    const auto v = var(x, axes).to_vector<float>(), n = norm(x, 2, axes).to_vector<float>();
    for (int count : {2, 3}) {
      set_num_threads(count);
      CHECK(var(x, axes).to_vector<float>() == v);
      CHECK(norm(x, 2, axes).to_vector<float>() == n);
    }
  }
  set_num_threads(threads);
}

TEST_CASE("var, stddev, norm: error texts") {
  const Tensor x = zeros({2, 1});
  CHECK_THROWS_WITH_AS(
      var(x, 1),
      "var: there must be more elements than the correction; got 1 and correction = 1 for axes [1] of x "
      "[2, 1]",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      stddev(zeros({0}), {.correction = 0}),
      "stddev: there must be more elements than the correction; got 0 and correction = 0 for axes [0] of x "
      "[0]",
      ShapeError);
  CHECK_THROWS_WITH_AS(var(x, 2), "var: axis must be in [-2, 2); got 2 for x [2, 1]", ShapeError);
  CHECK_THROWS_WITH_AS(stddev(zeros({2}, DType::i64)), "stddev: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(norm(x, std::nan("")), "norm: p must be a number; got nan", Error);
  CHECK_THROWS_WITH_AS(norm(zeros({2, 0}), -0.5, 1),
                       "norm: there must be elements to compare; got axes [1] of x [2, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(var_mean(x, 1),
                       "var_mean: there must be more elements than the correction; got 1 and correction = 1 for axes "
                       "[1] of x [2, 1]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(norm(zeros({2, 0}), INFINITY, 1),
                       "norm: there must be elements to compare; got axes [1] of x [2, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(norm(zeros({2}, DType::boolean)), "norm: x must be f32, f64 or bf16; got bool", DTypeError);
}

TEST_CASE("op: var_mean: both results and their gradients, order 2") {
  for (const auto& [shape, axes_] : kRows) {
    const Axes axes = axes_;
    check_op({.name = "var_mean",
              .op = [=](Args x) { return var_mean(x[0], axes, {.correction = 0, .keep = true}).var; },
              .reference = naive_groups(axes, [](const std::vector<double>& v) { return naive_var(v, 0); }),
              .inputs = {shape}});
    check_op({.name = "var_mean",
              .op = [=](Args x) { return var_mean(x[0], axes, {.keep = true}).mean; },
              .reference = naive_groups(axes,
                                        [](const std::vector<double>& v) {
                                          double total = 0;
                                          for (double e : v) total += e;
                                          return total / static_cast<double>(v.size());
                                        }),
              .inputs = {shape}});
  }
  const VarMean v = var_mean(tensor({{1, 2, 3}, {4, 4, 4}}), 1);
  CHECK(v.var.to_vector<float>() == std::vector<float>{1, 0});
  CHECK(v.mean.to_vector<float>() == std::vector<float>{2, 4});
}

TEST_CASE("op: norm: any p, order 2") {
  const auto reference = [](double p) {
    return [p](const std::vector<double>& v) {
      double total = 0, least = INFINITY;
      for (double e : v) total += p == 0 ? (e != 0) : std::pow(std::abs(e), p), least = std::min(least, std::abs(e));
      return p == -INFINITY ? least : p == 0 ? total : std::pow(total, 1 / p);
    };
  };
  for (const auto& [shape, axes_] : kRows)
    for (double p : {0.0, 0.5, 1.5, 3.0, 4.0, -1.0, -2.5, -double{INFINITY}})
      for (double sign : {1.0, -1.0}) {
        const Axes axes = axes_;
        CAPTURE(p);
        check_op({.name = "norm",
                  .op = [=](Args x) { return norm(x[0], p, axes, keep_dims); },
                  .reference = naive_groups(axes, reference(p)),
                  .inputs = {Input(shape, sign > 0 ? 0.5 : -1, sign > 0 ? 1 : -0.5)},
                  .order = p == 0 ? 0 : 2,
                  .tolerance = 1e-6});  // third derivatives of small powers
      }
}

TEST_CASE("op: norm: zeros among the elements, and nothing but zeros") {
  for (double p : {0.5, 1.5, 3.0}) {
    const Tensor x = tensor({0, 2, 0}, DType::f64).requires_grad_();
    CHECK(norm(x, p).item() == doctest::Approx(2));
    CHECK(grad(norm(x, p), {x})[0].to_vector<double>()[0] == 0);
    CHECK(grad(norm(x, p), {x})[0].to_vector<double>()[1] == doctest::Approx(1));
    const Tensor none = zeros({2}, DType::f64).requires_grad_();
    CHECK(norm(none, p).item() == 0);
    CHECK(grad(norm(none, p), {none})[0].to_vector<double>() == std::vector<double>{0, 0});
    CHECK(norm(zeros({2, 0}), p, 1).to_vector<float>() == std::vector<float>{0, 0});
  }
  const Tensor x = tensor({0, 2, 4}, DType::f64).requires_grad_();
  CHECK(norm(x, -1).item() == 0);
  CHECK(grad(norm(x, -1), {x})[0].to_vector<double>() == std::vector<double>{0, 0, 0});
  CHECK(norm(x, 0).item() == 2);
  CHECK(norm(x, -INFINITY).item() == 0);
  CHECK(norm(tensor({1, INFINITY}), 3).item() == INFINITY);
}
