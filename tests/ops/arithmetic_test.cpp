#include "ops/arithmetic.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Row {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  double (*naive)(double, double);
  double low;  // of the second operand: away from poles and kinks
};
const Row kRows[] = {
    {"add", add, [](double a, double b) { return a + b; }, -1},
    {"sub", sub, [](double a, double b) { return a - b; }, -1},
    {"mul", mul, [](double a, double b) { return a * b; }, -1},
    {"div", div, [](double a, double b) { return a / b; }, 0.5},
    {"maximum", maximum, [](double a, double b) { return a > b ? a : b; }, -1},
    {"minimum", minimum, [](double a, double b) { return a < b ? a : b; }, -1},
};

}  // namespace

TEST_CASE("arithmetic: forward, gradient, second order, strided and broadcast operands") {
  for (const Row& row : kRows) {
    CAPTURE(row.name);
    const auto op = [&](Args x) { return row.op(x[0], x[1]); };
    const auto naive = naive_map([&](const std::vector<double>& v) { return row.naive(v[0], v[1]); });
    const std::pair<Shape, Shape> shapes[] = {{{3, 5}, {3, 5}}, {{3, 5}, {5}},    {{2, 1, 4}, {3, 1}}, {{}, {2, 3}},
                                              {{1}, {1}},       {{0, 3}, {1, 3}}, {{7, 40}, {7, 1}}};
    for (const auto& [a, b] : shapes)
      check_op({.name = row.name, .op = op, .reference = naive, .inputs = {{a, -1, 1}, {b, row.low, 1.5}}});
  }
}

TEST_CASE("pow: forward and both gradients") {
  check_op({.name = "pow",
            .op = [](Args x) { return pow(x[0], x[1]); },
            .reference = naive_map([](const std::vector<double>& v) { return std::pow(v[0], v[1]); }),
            .inputs = {Input({3, 4}, 0.2, 2), Input({4}, -2, 2)}});
}

TEST_CASE("arithmetic: integers wrap around, bool operands adopt, numbers stand on either side") {
  const Tensor big = full({2}, 2147483647, DType::i32), mask = tensor({1, 0}, DType::boolean);
  CHECK((big + 1.0).to_vector<i32>() == std::vector<i32>{-2147483647 - 1, -2147483647 - 1});
  CHECK((big * 2.0).to_vector<i32>() == std::vector<i32>{-2, -2});
  CHECK((-2.0 - big).to_vector<i32>() == std::vector<i32>{2147483647, 2147483647});
  CHECK((mask * big).to_vector<i32>() == std::vector<i32>{2147483647, 0});
  const Tensor x = tensor({1.5, -2});
  CHECK((x * mask).to_vector<float>() == std::vector<float>{1.5f, 0});
  CHECK((mask - x).dtype() == DType::f32);
  CHECK((1.0 / x).to_vector<float>() == std::vector<float>{1 / 1.5f, -0.5f});
  CHECK((x / 2.0).to_vector<float>() == std::vector<float>{0.75f, -1});
}

TEST_CASE("arithmetic: zero divisors, NaN and infinities follow IEEE 754") {
  const double nan = std::nan(""), inf = INFINITY;
  const Tensor a = tensor({1, -1, 0, nan, inf}), b = tensor({0, 0, 0, 1, -inf});
  const auto quotient = div(a, b).to_vector<float>();
  CHECK(quotient[0] == INFINITY);
  CHECK(quotient[1] == -INFINITY);
  CHECK(std::isnan(quotient[2]));
  for (auto op : {maximum, minimum})
    for (const auto& y : {op(a, b).to_vector<float>(), op(b, a).to_vector<float>()}) CHECK(std::isnan(y[3]));
  CHECK(maximum(a, b).to_vector<float>()[4] == INFINITY);
  CHECK(minimum(b, a).to_vector<float>()[4] == -INFINITY);
}

TEST_CASE("maximum and minimum: a tie gives half to each operand") {
  for (auto op : {maximum, minimum}) {
    const Tensor a = tensor({1, 2, 3}, DType::f64).requires_grad_(), b = tensor({1, 3, 2}, DType::f64).requires_grad_();
    const std::vector<Tensor> g = grad(op(a, b), {a, b}, ones({3}, DType::f64));
    CHECK(g[0].to_vector<double>()[0] == 0.5);
    CHECK(g[1].to_vector<double>()[0] == 0.5);
    CHECK((g[0] + g[1]).to_vector<double>() == std::vector<double>{1, 1, 1});
  }
}

TEST_CASE("pow: whole powers of negative numbers; gradients at 0 are finite") {
  CHECK(pow(tensor({-2, -2}), tensor({3, 2})).to_vector<float>() == std::vector<float>{-8, 4});
  const Tensor a = tensor({0, 0, 0}, DType::f64).requires_grad_(), b = tensor({0, 1, 2}, DType::f64).requires_grad_();
  const std::vector<Tensor> g = grad(pow(a, b), {a, b}, ones({3}, DType::f64));
  CHECK(g[0].to_vector<double>() == std::vector<double>{0, 1, 0});
  CHECK(g[1].to_vector<double>() == std::vector<double>{0, 0, 0});
  check_op({.name = "pow",
            .op = [](Args x) { return pow(x[0], x[1]); },  // b = 0: the mixed derivative is 1 / a
            .inputs = {Input({3}, 0.5, 2), Input::at(tensor({0, 0, 1}, DType::f64))}});
}

TEST_CASE("arithmetic: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 3}), mask = zeros({2, 3}, DType::boolean);
  CHECK_THROWS_WITH_AS(add(x, zeros({4, 3})),
                       "add: sizes must match or be 1, from the last axis on; got a [2, 3] and b [4, 3] (2 != 4)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(mul(zeros({4}), x),
                       "mul: sizes must match or be 1, from the last axis on; got a [4] and b [2, 3] (4 != 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(sub(x, zeros({2, 3}, DType::f64)),
                       "sub: operands must have one dtype; got f32 [2, 3] and f64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(add(x, zeros({3}, DType::i64)), "add: operands must have one dtype; got f32 [2, 3] and i64 [3]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(add(mask, mask), "add: one operand must be a number; got bool [2, 3] and bool [2, 3]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(mask + 1.0, "arithmetic: a number needs a number beside it; got bool [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(div(zeros({2}, DType::i64), ones({2}, DType::i64)), "div: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(pow(zeros({2}, DType::i32), ones({2}, DType::i32)), "pow: x must be f32, f64 or bf16; got i32",
                       DTypeError);
  CHECK_THROWS_WITH_AS(zeros({2}, DType::i64) * 0.5,
                       "arithmetic: a number beside i64 must be whole and in its range; got 0.5 and i64 [2]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(zeros({2}, DType::i32) + 3e9,
                       "arithmetic: a number beside i32 must be whole and in its range; got 3000000000 and i32 [2]",
                       DTypeError);
}

TEST_CASE("arithmetic: each error begins with the name of its op") {
  for (const Row& row : kRows)
    CHECK_THROWS_WITH_AS(
        row.op(zeros({2}), zeros({3})),
        (std::string(row.name) + ": sizes must match or be 1, from the last axis on; got a [2] and b [3] (2 != 3)")
            .c_str(),
        ShapeError);
}

TEST_CASE("pow: size 0, and a broadcast exponent") {
  const auto op = [](Args x) { return pow(x[0], x[1]); };
  check_op({.name = "pow", .op = op, .inputs = {Input({0, 3}, 0.5, 2), Input({3}, -1, 1)}});
}
