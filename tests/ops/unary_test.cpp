#include "ops/unary.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

double entr_of(double x) { return x > 0 ? -x * std::log(x) : x == 0 ? 0 : x < 0 ? -INFINITY : x; }

struct Row {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*naive)(double);
  double low = -2, high = 2;  // away from poles and kinks
};
const Row kRows[] = {
    {"neg", neg, [](double x) { return -x; }},
    {"abs", abs, [](double x) { return std::abs(x); }, 0.1},
    {"abs", abs, [](double x) { return std::abs(x); }, -2, -0.1},
    {"square", square, [](double x) { return x * x; }},
    {"exp", exp, [](double x) { return std::exp(x); }},
    {"expm1", expm1, [](double x) { return std::expm1(x); }},
    {"log", log, [](double x) { return std::log(x); }, 0.3},
    {"log1p", log1p, [](double x) { return std::log1p(x); }, -0.5},
    {"sqrt", sqrt, [](double x) { return std::sqrt(x); }, 0.3},
    {"rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.3},
    {"reciprocal", reciprocal, [](double x) { return 1 / x; }, 0.4},
    {"sin", sin, [](double x) { return std::sin(x); }},
    {"cos", cos, [](double x) { return std::cos(x); }},
    {"tanh", tanh, [](double x) { return std::tanh(x); }},
    {"erf", erf, [](double x) { return std::erf(x); }},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"erfc", erfc, [](double x) { return std::erfc(x); }},
    {"normal_cdf", normal_cdf, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }},
    {"entr", entr, entr_of, 0.2},
};

void check_row(const Row& row, const Input& input, int order, bool f32 = true) {
  CAPTURE(row.name);
  check_op({.name = row.name,
            .op = [&](Args x) { return row.op(x[0]); },
            .reference = naive_map([&](const std::vector<double>& v) { return row.naive(v[0]); }),
            .inputs = {input},
            .order = order,
            .f32 = f32});
}

}  // namespace

TEST_CASE("functions of one number: forward, gradient, second order, strided, sizes 0 and 1") {
  for (const Row& row : kRows)
    for (const Shape& shape : {Shape{3, 5}, Shape{}, Shape{1, 1}, Shape{0, 2}, Shape{2, 3, 7}})
      check_row(row, Input(shape, row.low, row.high), 2);
}

TEST_CASE("functions of one number: special values are those of C") {
  const double inf = INFINITY, nan = std::nan("");
  for (const Row& row : kRows)
    check_row(row, Input::fixed(tensor({0, -0.0, 1, -1, inf, -inf, nan, 1e-300, 700, -700}, DType::f64)), 0, false);
  CHECK(std::signbit(neg(scalar(0)).item()));
  CHECK(sign(tensor({-3, -0.0, 0, 5})).to_vector<float>() == std::vector<float>{-1, 0, 0, 1});
  CHECK(std::isnan(sign(scalar(nan)).item()));
}

TEST_CASE("floor, ceil, round: ties to even, no gradient") {
  const Tensor x = tensor({-1.5, -0.5, 0.5, 1.5, 2.5, 1.2}).requires_grad_();
  CHECK(floor(x).to_vector<float>() == std::vector<float>{-2, -1, 0, 1, 2, 1});
  CHECK(ceil(x).to_vector<float>() == std::vector<float>{-1, 0, 1, 2, 3, 2});
  CHECK(round(x).to_vector<float>() == std::vector<float>{-2, 0, 0, 2, 2, 1});
  CHECK_FALSE(floor(x).requires_grad());
  CHECK_FALSE(sign(x).requires_grad());
}

TEST_CASE("integers: neg, abs, sign and square wrap around") {
  const i32 low = std::numeric_limits<i32>::lowest();
  const Tensor x = from_vector(std::vector<i32>{3, -4, 0, low}, {4});
  CHECK(neg(x).to_vector<i32>() == std::vector<i32>{-3, 4, 0, low});
  CHECK(abs(x).to_vector<i32>() == std::vector<i32>{3, 4, 0, low});
  CHECK(sign(x).to_vector<i32>() == std::vector<i32>{1, -1, 0, -1});
  CHECK(square(x).to_vector<i32>() == std::vector<i32>{9, 16, 0, 0});
}

TEST_CASE("pow by a number: whole, fractional and negative exponents, and 0") {
  for (double c : {0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 1.7}) {
    CAPTURE(c);
    check_op({.name = "pow",
              .op = [&](Args x) { return pow(x[0], c); },
              .reference = naive_map([&](const std::vector<double>& v) { return std::pow(v[0], c); }),
              .inputs = {Input({3, 4}, 0.3, 2)},
              .order = c == 0 ? 0 : 2});
  }
  const Tensor x = tensor({0, -2}, DType::f64).requires_grad_();
  CHECK(grad(pow(x, 2), {x}, ones({2}, DType::f64))[0].to_vector<double>() == std::vector<double>{0, -4});
  CHECK(grad(pow(x, 0), {x}, ones({2}, DType::f64))[0].to_vector<double>() == std::vector<double>{0, 0});
}

TEST_CASE("pow of a number: forward, gradient, second order, and base 0") {
  for (double c : {2.0, 0.5, 1.0, 10.0})
    check_op({.name = "pow",
              .op = [&](Args x) { return pow(c, x[0]); },
              .reference = naive_map([&](const std::vector<double>& v) { return std::pow(c, v[0]); }),
              .inputs = {Input({3, 4}, -2, 2)}});
  const Tensor x = tensor({0, 2, -1}, DType::f64).requires_grad_(), y = pow(0.0, x);
  CHECK(y.to_vector<double>() == std::vector<double>{1, 0, INFINITY});
  CHECK(grad(y, {x}, ones({3}, DType::f64))[0].to_vector<double>() == std::vector<double>{0, 0, -INFINITY});
}

TEST_CASE("entr: the gradient is infinite at 0 and NaN below; normal_cdf and erfc keep the digits of their tails") {
  const Tensor x = tensor({0, -1}, DType::f64).requires_grad_();
  const std::vector<double> g = grad(entr(x), {x}, ones({2}, DType::f64))[0].to_vector<double>();
  CHECK(g[0] == INFINITY);
  CHECK(std::isnan(g[1]));
  CHECK(std::abs(erfc(scalar(10, DType::f64)).item() / std::erfc(10) - 1) < 1e-14);
  CHECK(std::abs(normal_cdf(scalar(-10, DType::f64)).item() / (0.5 * std::erfc(10 / std::sqrt(2.0))) - 1) < 1e-13);
}

TEST_CASE("clamp: values, gradient inside and outside, NaN, the borders") {
  check_op({.name = "clamp",
            .op = [](Args x) { return clamp(x[0], -0.5, 0.75); },
            .reference = naive_map([](const std::vector<double>& v) { return std::min(std::max(v[0], -0.5), 0.75); }),
            .inputs = {{5, 7}}});
  const Tensor x = tensor({-1, 0, 0.5, 1, 2}, DType::f64).requires_grad_();
  CHECK(grad(clamp(x, 0, 1), {x}, ones({5}, DType::f64))[0].to_vector<double>() == std::vector<double>{0, 1, 1, 1, 0});
  CHECK(std::isnan(clamp(scalar(std::nan("")), 0, 1).item()));
  CHECK(clamp(scalar(7), -INFINITY, 1).item() == 1);
}

TEST_CASE("clamp: integers, with open sides") {
  const Tensor x = from_vector(std::vector<i64>{-5, 0, 7, std::numeric_limits<i64>::max()}, {4});
  CHECK(clamp(x, -1, 3).to_vector<i64>() == std::vector<i64>{-1, 0, 3, 3});
  CHECK(clamp(x, 0, INFINITY).to_vector<i64>() == std::vector<i64>{0, 0, 7, std::numeric_limits<i64>::max()});
  CHECK_THROWS_WITH_AS(clamp(x, 0.5, 3),
                       "clamp: a number beside i64 must be whole and in its range; got 0.5 and i64 [4]", DTypeError);
}

TEST_CASE("functions of one number: error texts") {
  CHECK_THROWS_WITH_AS(exp(zeros({2}, DType::i64)), "exp: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(neg(zeros({2}, DType::boolean)), "neg: x must be f32, f64, bf16, i32 or i64; got bool",
                       DTypeError);
  CHECK_THROWS_WITH_AS(clamp(zeros({2}), 1, 0), "clamp: low must be <= high; got low = 1 and high = 0", Error);
  CHECK_THROWS_WITH_AS(clamp(zeros({2}), std::nan(""), 0), "clamp: low must be <= high; got low = nan and high = 0",
                       Error);
  CHECK_THROWS_WITH_AS(pow(2, zeros({2}, DType::i32)), "pow: x must be f32, f64 or bf16; got i32", DTypeError);
  CHECK_THROWS_WITH_AS(erfc(zeros({2}, DType::i64)), "erfc: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(normal_cdf(zeros({2}, DType::i64)), "normal_cdf: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(entr(zeros({2}, DType::i64)), "entr: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(pow(zeros({2}, DType::i32), 2), "pow: x must be f32, f64 or bf16; got i32", DTypeError);
}

TEST_CASE("sign, floor, ceil, round: values, strided, sizes 0 and 1") {
  const Row rows[] = {{"sign", sign, [](double x) { return x > 0   ? 1.0
                                                           : x < 0 ? -1.0
                                                                   : 0.0; }},
                      {"floor", floor, [](double x) { return std::floor(x); }},
                      {"ceil", ceil, [](double x) { return std::ceil(x); }},
                      {"round", round, [](double x) { return std::nearbyint(x); }}};
  for (const Row& row : rows) {
    for (const Shape& shape : {Shape{3, 5}, Shape{}, Shape{0, 2}, Shape{7, 33}})
      check_row(row, Input(shape, -3, 3), 0, false);  // f32 may round to another whole number
    check_row(row, Input::fixed(tensor({{0.5, 1.5, -2.5}, {-0.5, 0, 7}})), 0);
  }
}

TEST_CASE("pow by a number and clamp: size 0") {
  check_op({.name = "pow", .op = [](Args x) { return pow(x[0], 2.5); }, .inputs = {{0, 3}}});
  check_op({.name = "clamp", .op = [](Args x) { return clamp(x[0], -1, 1); }, .inputs = {{3, 0}}});
}

TEST_CASE("functions of one number: each refuses the dtypes that it does not take, by name") {
  for (const Row& row : kRows) {
    const std::string name = row.name;
    if (name == "neg" || name == "abs" || name == "square")
      CHECK_THROWS_WITH_AS(row.op(zeros({2}, DType::boolean)),
                           (name + ": x must be f32, f64, bf16, i32 or i64; got bool").c_str(), DTypeError);
    else
      CHECK_THROWS_WITH_AS(row.op(zeros({2}, DType::i32)), (name + ": x must be f32, f64 or bf16; got i32").c_str(),
                           DTypeError);
  }
  CHECK_THROWS_WITH_AS(sign(zeros({2}, DType::boolean)), "sign: x must be f32, f64, bf16, i32 or i64; got bool",
                       DTypeError);
  CHECK_THROWS_WITH_AS(floor(zeros({2}, DType::i64)), "floor: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(ceil(zeros({2}, DType::i64)), "ceil: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(round(zeros({2}, DType::i64)), "round: x must be f32, f64 or bf16; got i64", DTypeError);
}
