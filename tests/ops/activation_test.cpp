#include "ops/activation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

double relu_of(double x) { return x > 0 ? x : 0; }
double gelu_of(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double gelu_tanh_of(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double silu_of(double x) { return x / (1 + std::exp(-x)); }
double softplus_of(double x) { return std::log1p(std::exp(x)); }

struct Row {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*naive)(double);
};
const Row kRows[] = {
    {"relu", relu, relu_of},
    {"gelu", gelu, gelu_of},
    {"gelu_tanh", gelu_tanh, gelu_tanh_of},
    {"silu", silu, silu_of},
    {"softplus", [](const Tensor& x) { return softplus(x); }, softplus_of},
    {"log_sigmoid", log_sigmoid, [](double x) { return -softplus_of(-x); }},
    {"softsign", softsign, [](double x) { return x / (1 + std::abs(x)); }},
    {"mish", mish, [](double x) { return x * std::tanh(softplus_of(x)); }},
    {"elu", [](const Tensor& x) { return elu(x, 1.5); }, [](double x) { return x > 0 ? x : 1.5 * std::expm1(x); }},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); }, [](double x) { return x > 0 ? x : 0.2 * x; }}};

struct GatedRow {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  double (*naive)(double);
};
const GatedRow kGated[] = {{"swiglu", swiglu, silu_of}, {"geglu", geglu, gelu_of}};

}  // namespace

TEST_CASE("activation: forward, gradient, second order") {
  for (const Row& row : kRows) {
    CAPTURE(row.name);
    for (const Shape& shape : {Shape{3, 5}, Shape{1}, Shape{}, Shape{0, 4}, Shape{7, 33}})
      check_op({.name = row.name,
                .op = [&](Args x) { return row.op(x[0]); },
                .reference = naive_map([&](const std::vector<double>& v) { return row.naive(v[0]); }),
                .inputs = {{shape, -4, 4}}});
  }
}

TEST_CASE("activation: gated pairs, forward, gradient, second order") {
  for (const GatedRow& row : kGated) {
    CAPTURE(row.name);
    for (const Shape& shape : {Shape{3, 5}, Shape{1}, Shape{0, 4}, Shape{7, 33}})
      check_op({.name = row.name,
                .op = [&](Args x) { return row.op(x[0], x[1]); },
                .reference = naive_map([&](const std::vector<double>& v) { return row.naive(v[0]) * v[1]; }),
                .inputs = {{shape, -4, 4}, shape}});
  }
}

TEST_CASE("activation: gate and up in layouts of their own") {
  for (const GatedRow& row : kGated) {
    check_op({.name = row.name,
              .op = [&](Args x) { return row.op(x[0], transpose(x[1])); },
              .reference =
                  [&](Args x) {
                    return naive_map([&](const std::vector<double>& v) { return row.naive(v[0]) * v[1]; })(
                        {x[0], transpose(x[1])});
                  },
              .inputs = {{40, 3}, {3, 40}}});
    check_op({.name = row.name,
              .op =
                  [&](Args x) {
                    return row.op(transpose(x[0]), expand(x[1], {40, 3}));
                  },
              .inputs = {{3, 40}, {3}}});
  }
}

TEST_CASE("activation: gate and up as the halves of one tensor") {
  check_op({.name = "swiglu",
            .op =
                [](Args x) {
                  return swiglu(slice(x[0], -1, {0, 6}), slice(x[0], -1, {6, 12}));
                },
            .inputs = {{4, 12}}});
}

TEST_CASE("activation: softplus with beta is linear above the threshold") {
  check_op({.name = "softplus",
            .op = [](Args x) { return softplus(x[0], 2, 3); },
            .reference = naive_map(
                [](const std::vector<double>& v) { return 2 * v[0] > 3 ? v[0] : std::log1p(std::exp(2 * v[0])) / 2; }),
            .inputs = {Input::at(tensor({-3, -0.5, 0, 1, 1.49, 1.51, 4}, DType::f64))}});
}

TEST_CASE("activation: kinks, tails and values that are no numbers") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::f32, DType::f64}) {
    Tensor x = tensor({0, -1, 1, -1e30, 1e30, std::nan("")}, dtype);
    x.requires_grad_();
    const auto slope = [&](Tensor (*op)(const Tensor&)) { return grad(op(x), {x}, ones_like(x))[0]; };
    const double nan = std::nan("");
    CHECK_EQ(difference(relu(x), tensor({0, 0, 1, 0, 1e30, nan}, dtype)), 0);
    CHECK_EQ(difference(slope(relu), tensor({0, 0, 1, 0, 1, 1}, dtype)), 0);
    for (auto* op : {gelu, gelu_tanh, silu, mish}) {
      CHECK_EQ(difference(slice(op(x), 0, {3}), tensor({0, 1e30, nan}, dtype)), 0);
      CHECK_EQ(difference(slice(slope(op), 0, {3}), tensor({0, 1, nan}, dtype)), 0);
    }
  }
  // The tail keeps its digits: gelu(-10) is about -7.6e-23.
  CHECK_LE(std::abs(gelu(scalar(-10, DType::f64)).item() / gelu_of(-10) - 1), 1e-14);
  CHECK_EQ(relu(scalar(-infinity)).item(), 0);
}

TEST_CASE("activation: log_sigmoid and softsign far from 0; elu and leaky_relu take the lower branch at 0") {
  Tensor x = tensor({-1000, -30, 30, 1000}, DType::f64);
  x.requires_grad_();
  const Tensor y = log_sigmoid(x);
  CHECK(y.to_vector<double>()[0] == -1000);
  CHECK(std::abs(y.to_vector<double>()[2] / -std::log1p(std::exp(-30.0)) - 1) < 1e-15);
  for (const bool graph : {false, true}) {
    const std::vector<double> g =
        grad(y, {x}, ones({4}, DType::f64), {.create_graph = graph, .retain_graph = true})[0].to_vector<double>();
    CHECK(g[0] == 1);
    CHECK(std::abs(g[2] / std::exp(-30.0) - 1) < 1e-12);
    CHECK(g[3] == 0);
  }
  CHECK_LE(difference(softsign(x), tensor({-1000 / 1001.0, -30 / 31.0, 30 / 31.0, 1000 / 1001.0}, DType::f64)), 1e-15);
  Tensor zero = zeros({}, DType::f64);
  zero.requires_grad_();
  CHECK_EQ(grad(elu(zero, 3), {zero})[0].item(), 3);
  CHECK_EQ(grad(leaky_relu(zero, 0.1), {zero})[0].item(), 0.1);
  CHECK_EQ(grad(softsign(zero), {zero})[0].item(), 1);
}

namespace {

// The derivative on a grid, from the kernel or as a graph.
std::vector<double> slopes(const Row& row, DType dtype, bool graph) {
  const Tensor x = arange(-6, 6.1, 0.625, dtype).requires_grad_();  // keeps off the zeros of the derivatives
  return grad(row.op(x), {x}, ones_like(x), {.create_graph = graph})[0].to_vector<double>();
}

}  // namespace

// Relative to the value itself, so that a tail that was lost shows.
TEST_CASE("activation: kernels and the graph of the gradient agree in f32 with f64, also where it is tiny") {
  for (const Row& row : kRows) {
    CAPTURE(row.name);
    const std::vector<double> want = slopes(row, DType::f64, false), twin = slopes(row, DType::f64, true);
    for (const bool graph : {false, true}) {
      const std::vector<double> got = slopes(row, DType::f32, graph);
      for (std::size_t i = 0; i < want.size(); ++i) {
        CAPTURE(i);
        CHECK(std::abs(got[i] - want[i]) <= 5e-5 * std::abs(want[i]));  // elu: e^x - 1 + 1 has that error at -6
        CHECK(std::abs(twin[i] - want[i]) <= 1e-12 * std::abs(want[i]));
      }
    }
  }
}

TEST_CASE("activation: the graph of the gradient far from 0") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (auto* op : {gelu, gelu_tanh, silu, mish}) {
      const Tensor x = tensor({-1e30, -100, 100, 1e30}, dtype).requires_grad_();
      const Tensor dx = grad(op(x), {x}, ones_like(x), {.create_graph = true})[0];
      CHECK_LE(difference(dx, tensor({0, 0, 1, 1}, dtype)), 1e-30);
      CHECK_LE(difference(grad(dx, {x}, ones_like(x))[0], zeros({4}, dtype)), 1e-30);
    }
}

TEST_CASE("activation: errors name the op and the operands") {
  CHECK_THROWS_WITH_AS(gelu(zeros({2}, DType::i64)), "gelu: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(log_sigmoid(zeros({2}, DType::i64)), "log_sigmoid: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(softsign(zeros({2}, DType::i64)), "softsign: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(leaky_relu(zeros({2}, DType::i32)), "leaky_relu: x must be f32, f64 or bf16; got i32",
                       DTypeError);
  CHECK_THROWS_WITH_AS(mish(zeros({2}, DType::i64)), "mish: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(elu(zeros({2}, DType::boolean)), "elu: x must be f32, f64 or bf16; got bool", DTypeError);
  CHECK_THROWS_WITH_AS(softplus(zeros({2}), 0), "softplus: beta must be > 0; got beta = 0", Error);
  CHECK_THROWS_WITH_AS(swiglu(zeros({2, 3}), zeros({3})),
                       "swiglu: gate and up must have one shape; got gate [2, 3] and up [3]", ShapeError);
}

TEST_CASE("activation: each refuses integers by its own name") {
  const Tensor x = zeros({2}, DType::i32);
  for (const Row& row : kRows)
    CHECK_THROWS_WITH_AS(row.op(x), (std::string(row.name) + ": x must be f32, f64 or bf16; got i32").c_str(),
                         DTypeError);
  for (const GatedRow& row : kGated)
    CHECK_THROWS_WITH_AS(row.op(x, x), (std::string(row.name) + ": x must be f32, f64 or bf16; got i32").c_str(),
                         DTypeError);
}
