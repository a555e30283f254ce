#include "ops/compare.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
struct Row {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  bool (*naive)(double, double);
};
const Row kRows[] = {
    {"eq", eq, [](double a, double b) { return a == b; }}, {"ne", ne, [](double a, double b) { return a != b; }},
    {"lt", lt, [](double a, double b) { return a < b; }},  {"le", le, [](double a, double b) { return a <= b; }},
    {"gt", gt, [](double a, double b) { return a > b; }},  {"ge", ge, [](double a, double b) { return a >= b; }},
};
}  // namespace

TEST_CASE("comparisons: every dtype, broadcasting, strides, ties, NaN and infinities") {
  const double nan = std::nan("");
  const Tensor a = tensor({{0, 1, -1}, {nan, INFINITY, -INFINITY}}, DType::f64), b = tensor({0, 1, nan}, DType::f64);
  for (const Row& row : kRows) {
    CAPTURE(row.name);
    const auto naive = naive_map([&](const std::vector<double>& v) { return row.naive(v[0], v[1]); });
    const auto op = [&](Args x) { return row.op(x[0], x[1]); };
    check_op(
        {.name = row.name, .op = op, .reference = naive, .inputs = {Input::fixed(a), Input::fixed(b)}, .order = 0});
    check_op({.name = row.name, .op = op, .reference = naive, .inputs = {{4, 1}, {3}}, .order = 0});
    check_op({.name = row.name, .op = op, .reference = naive, .inputs = {{0, 3}, {3}}, .order = 0});
    for (DType t : {DType::i32, DType::i64, DType::boolean, DType::f32}) {
      const Tensor p = tensor({0, 1, 0, 1}, t), q = tensor({0, 0, 1, 1}, t);
      CHECK(row.op(p, q).dtype() == DType::boolean);
      CHECK(difference(row.op(p, q), naive({p, q})) == 0);
    }
    const Tensor x = random_tensor({3}, 1).requires_grad_();
    CHECK_FALSE(row.op(x, x).requires_grad());
  }
}

TEST_CASE("logic: truth tables, broadcasting, size 0") {
  const Tensor p = tensor({0, 1, 0, 1}, DType::boolean), q = tensor({0, 0, 1, 1}, DType::boolean);
  using Bits = std::vector<i64>;
  CHECK(logical_and(p, q).to_vector<i64>() == Bits{0, 0, 0, 1});
  CHECK(logical_or(p, q).to_vector<i64>() == Bits{0, 1, 1, 1});
  CHECK(logical_xor(p, q).to_vector<i64>() == Bits{0, 1, 1, 0});
  CHECK(logical_not(p).to_vector<i64>() == Bits{1, 0, 1, 0});
  CHECK(logical_or(p, ones({3, 1}, DType::boolean)).shape() == Shape{3, 4});
  CHECK(logical_not(zeros({0}, DType::boolean)).shape() == Shape{0});
}

TEST_CASE("isnan and isfinite") {
  for (DType t : {DType::f32, DType::f64}) {
    const Tensor x = tensor({1, std::nan(""), INFINITY, -INFINITY, 0}, t);
    CHECK(isnan(x).to_vector<i64>() == std::vector<i64>{0, 1, 0, 0, 0});
    CHECK(isfinite(x).to_vector<i64>() == std::vector<i64>{1, 0, 0, 0, 1});
  }
  CHECK_THROWS_WITH_AS(isnan(zeros({2}, DType::i64)), "isnan: x must be f32, f64 or bf16; got i64", DTypeError);
}

TEST_CASE("comparisons and logic: error texts") {
  CHECK_THROWS_WITH_AS(eq(zeros({2}), zeros({3})),
                       "eq: sizes must match or be 1, from the last axis on; got a [2] and b [3] (2 != 3)", ShapeError);
  CHECK_THROWS_WITH_AS(lt(zeros({2}), zeros({2}, DType::f64)),
                       "lt: operands must have one dtype; got f32 [2] and f64 [2]", DTypeError);
  CHECK_THROWS_WITH_AS(ge(zeros({2}), zeros({3}, DType::i64)),
                       "ge: operands must have one dtype; got f32 [2] and i64 [3]", DTypeError);
  CHECK_THROWS_WITH_AS(logical_and(zeros({2}), zeros({2}, DType::boolean)), "logical_and: x must be bool; got f32",
                       DTypeError);
  CHECK_THROWS_WITH_AS(logical_not(zeros({2}, DType::i32)), "logical_not: x must be bool; got i32", DTypeError);
}

TEST_CASE("logic: strided and broadcast operands, size 0") {
  const Row rows[] = {{"logical_and", logical_and, [](double a, double b) { return a != 0 && b != 0; }},
                      {"logical_or", logical_or, [](double a, double b) { return a != 0 || b != 0; }},
                      {"logical_xor", logical_xor, [](double a, double b) { return (a != 0) != (b != 0); }}};
  const auto bits = [](const Shape& shape, u64 seed) {
    return Input::fixed(gt(random_tensor(shape, seed), scalar(0, DType::f64)));
  };
  for (const Row& row : rows)
    for (const auto& [a, b] : {std::pair<Shape, Shape>{{3, 5}, {3, 5}}, {{3, 1}, {5}}, {{}, {2, 3}}, {{0, 3}, {3}}})
      check_op({.name = row.name,
                .op = [&](Args x) { return row.op(x[0], x[1]); },
                .reference = naive_map([&](const std::vector<double>& v) { return row.naive(v[0], v[1]); }),
                .inputs = {bits(a, 1), bits(b, 2)},
                .order = 0});
  for (const Shape& shape : {Shape{3, 5}, Shape{}, Shape{0, 3}})
    check_op({.name = "logical_not",
              .op = [](Args x) { return logical_not(x[0]); },
              .reference = naive_map([](const std::vector<double>& v) { return v[0] == 0; }),
              .inputs = {bits(shape, 3)},
              .order = 0});
}

TEST_CASE("isnan and isfinite: strided, size 0") {
  const Tensor x = tensor({{1, std::nan(""), INFINITY}, {-INFINITY, 0, -3}}, DType::f64);
  for (const Tensor& t : {x, zeros({0, 2}, DType::f64)}) {
    check_op({.name = "isnan",
              .op = [](Args a) { return isnan(a[0]); },
              .reference = naive_map([](const std::vector<double>& v) { return std::isnan(v[0]); }),
              .inputs = {Input::fixed(t)},
              .order = 0});
    check_op({.name = "isfinite",
              .op = [](Args a) { return isfinite(a[0]); },
              .reference = naive_map([](const std::vector<double>& v) { return std::isfinite(v[0]); }),
              .inputs = {Input::fixed(t)},
              .order = 0});
  }
}

TEST_CASE("comparisons and logic: each error begins with the name of its op") {
  for (const Row& row : kRows)
    CHECK_THROWS_WITH_AS(row.op(zeros({2}), zeros({2}, DType::i32)),
                         (std::string(row.name) + ": operands must have one dtype; got f32 [2] and i32 [2]").c_str(),
                         DTypeError);
  const Tensor bit = zeros({2}, DType::boolean);
  CHECK_THROWS_WITH_AS(logical_or(bit, zeros({2})), "logical_or: x must be bool; got f32", DTypeError);
  CHECK_THROWS_WITH_AS(logical_xor(bit, zeros({3}, DType::boolean)),
                       "logical_xor: sizes must match or be 1, from the last axis on; got a [2] and b [3] (2 != 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(isfinite(bit), "isfinite: x must be f32, f64 or bf16; got bool", DTypeError);
}
