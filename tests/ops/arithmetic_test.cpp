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
      check_op({.op = op, .reference = naive, .inputs = {{a, -1, 1}, {b, row.low, 1.5}}});
  }
}

TEST_CASE("pow: forward and both gradients") {
  check_op({.op = [](Args x) { return pow(x[0], x[1]); },
            .reference = naive_map([](const std::vector<double>& v) { return std::pow(v[0], v[1]); }),
            .inputs = {Input({3, 4}, 0.2, 2), Input({4}, -2, 2)}});
}
