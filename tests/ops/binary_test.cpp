#include "ops/binary.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

double logaddexp_of(double a, double b) {
  return a == b ? a + std::log(2.0) : std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

struct Row {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  double (*naive)(double, double);
  double low;  // of the second operand: away from the cut of the angle
};
const Row kRows[] = {{"atan2", atan2, [](double a, double b) { return std::atan2(a, b); }, 0.5},
                     {"logaddexp", logaddexp, logaddexp_of, -2}};

}  // namespace

TEST_CASE("binary: atan2 and logaddexp, forward, gradient, second order, strided and broadcast operands") {
  for (const Row& row : kRows)
    for (const auto& [a, b] : {std::pair<Shape, Shape>{{3, 5}, {3, 5}},
                               {{3, 5}, {5}},
                               {{2, 1, 4}, {3, 1}},
                               {{}, {2, 3}},
                               {{1}, {1}},
                               {{0, 3}, {1, 3}},
                               {{7, 40}, {7, 1}}}) {
      CAPTURE(row.name);
      check_op({.name = row.name,
                .op = [&](Args x) { return row.op(x[0], x[1]); },
                .reference = naive_map([&](const std::vector<double>& v) { return row.naive(v[0], v[1]); }),
                .inputs = {{a, -2, 2}, {b, row.low, 2}}});
    }
}

TEST_CASE("atan2: quadrants, axes and the origin") {
  const Tensor y = tensor({1, 1, -1, -1, 0, 0, 0}, DType::f64).requires_grad_();
  const Tensor x = tensor({1, -1, -1, 1, 2, -2, 0}, DType::f64).requires_grad_();
  const double pi = M_PI;
  CHECK_LE(difference(atan2(y, x), tensor({pi / 4, 3 * pi / 4, -3 * pi / 4, -pi / 4, 0, pi, 0}, DType::f64)), 1e-15);
  const std::vector<Tensor> g = grad(atan2(y, x), {y, x}, ones({7}, DType::f64));
  CHECK_LE(difference(g[0], tensor({0.5, -0.5, -0.5, 0.5, 0.5, -0.5, 0}, DType::f64)), 1e-15);
  CHECK_LE(difference(g[1], tensor({-0.5, -0.5, 0.5, 0.5, 0, 0, 0}, DType::f64)), 1e-15);
}

TEST_CASE("atan2: the gradient of tiny and of huge points, whose squares are no numbers of f32") {
  for (const double size : {1e-25, 1e-10, 1e25}) {
    const Tensor y = tensor({3 * size, 0, -4 * size}).requires_grad_();
    const Tensor x = tensor({4 * size, -size, 3 * size}).requires_grad_();
    const std::vector<Tensor> g = grad(atan2(y, x), {y, x}, ones({3}), {.create_graph = true});
    const auto dy = g[0].to_vector<double>(), dx = g[1].to_vector<double>();
    const double want_y[] = {0.16, -1, 0.12}, want_x[] = {-0.12, 0, 0.16};
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(std::abs(dy[i] * size - want_y[i]) < 1e-6);
      CHECK(std::abs(dx[i] * size - want_x[i]) < 1e-6);
    }
  }
}

TEST_CASE("logaddexp: equal, distant and infinite operands") {
  const double inf = INFINITY;
  const Tensor a = tensor({0, 1000, -inf, -inf, inf, inf, -inf}, DType::f64).requires_grad_();
  const Tensor b = tensor({0, -1000, 3, -inf, inf, 1, inf}, DType::f64).requires_grad_();
  const Tensor y = logaddexp(a, b);
  CHECK(y.to_vector<double>() == std::vector<double>{std::log(2.0), 1000, 3, -inf, inf, inf, inf});
  const std::vector<Tensor> g = grad(y, {a, b}, ones({7}, DType::f64));
  CHECK(g[0].to_vector<double>() == std::vector<double>{0.5, 1, 0, 0.5, 0.5, 1, 0});
  CHECK(g[1].to_vector<double>() == std::vector<double>{0.5, 0, 1, 0.5, 0.5, 0, 1});
  const Tensor nan = scalar(std::nan(""), DType::f64), one = scalar(1, DType::f64);
  CHECK(std::isnan(logaddexp(nan, one).item()));
  CHECK(std::isnan(logaddexp(one, nan).item()));
  check_op({.name = "logaddexp",  // a tie is no kink
            .op = [](Args x) { return logaddexp(x[0], x[1]); },
            .inputs = {Input::at(tensor({1, 2}, DType::f64)), Input::at(tensor({1, 2}, DType::f64))}});
}

TEST_CASE("floor_divide and remainder: forward, gradient, second order, strided and broadcast operands") {
  const auto quotient = [](const std::vector<double>& v) { return std::floor(v[0] / v[1]); };
  for (const auto& [a, b] :
       {std::pair<Shape, Shape>{{3, 5}, {3, 5}}, {{3, 5}, {5}}, {{2, 1, 4}, {3, 1}}, {{0, 3}, {3}}})
    for (const double sign : {1.0, -1.0}) {
      const std::vector<Input> inputs{Input(a, -4, 4), sign > 0 ? Input(b, 0.5, 2) : Input(b, -2, -0.5)};
      check_op({.name = "floor_divide",
                .op = [](Args x) { return floor_divide(x[0], x[1]); },
                .reference = naive_map(quotient),
                .inputs = inputs,
                .order = 0});
      check_op({.name = "remainder",
                .op = [](Args x) { return remainder(x[0], x[1]); },
                .reference = naive_map([&](const std::vector<double>& v) { return v[0] - v[1] * quotient(v); }),
                .inputs = inputs});
    }
}

TEST_CASE("floor_divide and remainder: integers as in Python, at the ends of their range, and floats at the edge") {
  const Tensor a = tensor({7, -7, 7, -7, 6, -6}, DType::i64), b = tensor({2, 2, -2, -2, 3, 3}, DType::i64);
  CHECK(floor_divide(a, b).to_vector<i64>() == std::vector<i64>{3, -4, -4, 3, 2, -2});
  CHECK(remainder(a, b).to_vector<i64>() == std::vector<i64>{1, 1, -1, -1, 0, 0});
  const i32 lowest = std::numeric_limits<i32>::lowest();
  const Tensor low = from_vector(std::vector<i32>{lowest, lowest}, {2});
  const Tensor by = from_vector(std::vector<i32>{-1, 1}, {2});
  CHECK(floor_divide(low, by).to_vector<i32>() == std::vector<i32>{lowest, lowest});
  CHECK(remainder(low, by).to_vector<i32>() == std::vector<i32>{0, 0});
  // 1 / 0.1 rounds to 10, but 0.1 is a little more than a tenth.
  const Tensor one = scalar(1, DType::f64), tenth = scalar(0.1, DType::f64), zero = scalar(0, DType::f64);
  CHECK_EQ(floor_divide(one, tenth).item(), 9);
  CHECK_EQ(remainder(one, tenth).item(), std::fmod(1, 0.1));
  CHECK_EQ(floor_divide(one, zero).item(), INFINITY);
  CHECK(std::isnan(remainder(one, zero).item()));
  const double inf = INFINITY;
  const Tensor p = tensor({-1, 1, -1, 1, 0, inf}, DType::f64).requires_grad_();
  const Tensor q = tensor({inf, inf, -inf, -inf, inf, 2}, DType::f64).requires_grad_();
  CHECK_EQ(difference(floor_divide(p, q), tensor({-1, 0, 0, -1, 0, std::nan("")}, DType::f64)), 0);
  const Tensor y = remainder(p, q);
  CHECK(y.to_vector<double>()[0] == inf);
  CHECK(y.to_vector<double>()[2] == -1);
  CHECK_EQ(difference(grad(y, {q}, ones({6}, DType::f64))[0], tensor({1, 0, 0, 1, 0, std::nan("")}, DType::f64)), 0);
  {  // values can be read without waiting for them
    const DeviceScope scope(Device::cpu);
    const Tensor here = a.to(Device::cpu);
    CHECK_THROWS_WITH_AS(floor_divide(here, tensor({1, 0, 1, 1, 1, 1}, DType::i64)),
                         "floor_divide: an integer cannot be divided by 0; got b i64 [6] with a 0 in it", Error);
    CHECK_THROWS_WITH_AS(remainder(here, zeros({}, DType::i64)),
                         "remainder: an integer cannot be divided by 0; got b i64 [] with a 0 in it", Error);
  }
  CHECK_THROWS_WITH_AS(remainder(zeros({2}, DType::boolean), zeros({2}, DType::boolean)),
                       "remainder: x must be f32, f64, bf16, i32 or i64; got bool", DTypeError);
}

TEST_CASE("lerp: forward, gradient, second order; exact at both ends") {
  for (const Shape& w : {Shape{3, 4}, Shape{4}, Shape{}, Shape{2, 1, 1}})
    check_op({.name = "lerp",
              .op = [](Args x) { return lerp(x[0], x[1], x[2]); },
              .reference = naive_map([](const std::vector<double>& v) { return (1 - v[2]) * v[0] + v[2] * v[1]; }),
              .inputs = {{3, 4}, {4}, Input(w, -0.4, 1.4)}});
  check_op({.name = "lerp",
            .op = [](Args x) { return lerp(x[0], x[1], 0.75); },
            .reference = naive_map([](const std::vector<double>& v) { return 0.25 * v[0] + 0.75 * v[1]; }),
            .inputs = {{0, 4}, {4}}});
  const Tensor a = scalar(1e20), b = scalar(1);
  CHECK_EQ(lerp(a, b, 0).item(), a.item());
  CHECK_EQ(lerp(a, b, 1).item(), 1);
}

TEST_CASE("addcmul: forward, gradient, second order") {
  for (const Shape& x : {Shape{3, 4}, Shape{}, Shape{2, 1, 4}, Shape{0, 1, 4}})
    check_op({.name = "addcmul",
              .op = [](Args in) { return addcmul(in[0], in[1], in[2], -0.5); },
              .reference = naive_map([](const std::vector<double>& v) { return v[0] - 0.5 * v[1] * v[2]; }),
              .inputs = {x, {3, 1}, {4}}});
  CHECK_EQ(addcmul(scalar(1), scalar(2), scalar(3)).item(), 7);
}

TEST_CASE("binary: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(atan2(x, zeros({4, 3})),
                       "atan2: sizes must match or be 1, from the last axis on; got a [2, 3] and b [4, 3] (2 != 4)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(logaddexp(x, zeros({3}, DType::f64)),
                       "logaddexp: operands must have one dtype; got f32 [2, 3] and f64 [3]", DTypeError);
  CHECK_THROWS_WITH_AS(atan2(zeros({2}, DType::i64), zeros({2}, DType::i64)),
                       "atan2: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(lerp(x, x, zeros({2})),
                       "lerp: sizes must match or be 1, from the last axis on; got a [2, 3] and b [2] (3 != 2)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(lerp(zeros({2}, DType::i32), zeros({2}, DType::i32), 0.5),
                       "lerp: x must be f32, f64 or bf16; got i32", DTypeError);
  CHECK_THROWS_WITH_AS(addcmul(x, zeros({4}), x),
                       "addcmul: sizes must match or be 1, from the last axis on; got a [2, 3] and b [4] (3 != 4)",
                       ShapeError);
}
