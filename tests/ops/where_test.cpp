#include "ops/where.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "ops/reduce.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
Tensor mask_of(const Shape& shape) {
  std::vector<i64> v;
  for (i64 i = 0; i < shape.elements(); ++i) v.push_back(i % 3 != 1);
  return from_vector(v, shape, DType::boolean);
}
}  // namespace

TEST_CASE("where: forward, gradient, second order, strided, every way to broadcast, sizes 0 and 1") {
  struct Row {
    Shape cond, a, b;
  };
  for (const Row& r : {Row{{3, 5}, {3, 5}, {3, 5}}, Row{{5}, {3, 5}, {}}, Row{{3, 1}, {5}, {3, 5}}, Row{{}, {2}, {2}},
                       Row{{2, 3, 4}, {}, {}}, Row{{1}, {1}, {1}}, Row{{0, 3}, {3}, {1, 1}}})
    check_op({.name = "where",
              .op = [](Args x) { return where(x[0], x[1], x[2]); },
              .reference = naive_map([](const std::vector<double>& v) { return v[0] != 0 ? v[1] : v[2]; }),
              .inputs = {Input::fixed(mask_of(r.cond)), r.a, r.b}});
}

TEST_CASE("masked_fill: forward, gradient, second order, broadcasting either way") {
  for (const auto& [x, mask] :
       {std::pair<Shape, Shape>{{3, 5}, {3, 5}}, {{3, 5}, {5}}, {{5}, {3, 1}}, {{0}, {0}}, {{}, {}}})
    check_op({.name = "masked_fill",
              .op = [](Args a) { return masked_fill(a[0], a[1], -2); },
              .reference = naive_map([](const std::vector<double>& v) { return v[1] != 0 ? -2 : v[0]; }),
              .inputs = {x, Input::fixed(mask_of(mask))}});
  CHECK(masked_fill(tensor({1, 2}), tensor({0, 1}, DType::boolean), -INFINITY).to_vector<float>()[1] == -INFINITY);
}

TEST_CASE("where and masked_fill: every dtype") {
  const Tensor mask = tensor({1, 0, 1}, DType::boolean);
  for (DType t : {DType::f32, DType::f64, DType::i32, DType::i64, DType::boolean}) {
    const Tensor a = tensor({1, 1, 0}, t), b = tensor({0, 0, 1}, t);
    CHECK(where(mask, a, b).dtype() == t);
    CHECK(where(mask, a, b).to_vector<i64>() == std::vector<i64>{1, 0, 0});
    CHECK(masked_fill(b, mask, 1).to_vector<i64>() == std::vector<i64>{1, 0, 1});
    CHECK(masked_fill(b, mask, 1).dtype() == t);
  }
}

TEST_CASE("where and masked_fill: what was not taken has gradient 0, even beside NaN and infinity") {
  const Tensor x = tensor({0, 4}, DType::f64).requires_grad_(), mask = tensor({1, 0}, DType::boolean);
  const Tensor bad = 1.0 / x;  // infinite, with an infinite derivative
  CHECK(grad(sum(where(mask, x * 2.0, bad)), {x})[0].to_vector<double>()[1] == -1.0 / 16);
  const Tensor dy = tensor({std::nan(""), 1}, DType::f64);
  CHECK(grad(masked_fill(x, mask, 0), {x}, dy)[0].to_vector<double>() == std::vector<double>{0, 1});
  const Tensor y = tensor({1, 1}, DType::f64).requires_grad_();
  CHECK(grad(where(mask, x, y), {y}, dy)[0].to_vector<double>() == std::vector<double>{0, 1});
}

TEST_CASE("where and masked_fill: error texts") {
  const Tensor x = zeros({2, 3}), mask = zeros({2, 3}, DType::boolean);
  CHECK_THROWS_WITH_AS(where(x, x, x), "where: cond must be bool; got f32 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(where(mask, x, zeros({2, 3}, DType::f64)),
                       "where: operands must have one dtype; got f32 [2, 3] and f64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(where(mask, x, zeros({4})),
                       "where: sizes must match or be 1, from the last axis on; got cond [2, 3], a [2, 3] and b [4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(masked_fill(x, x, 0), "masked_fill: mask must be bool; got f32 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(masked_fill(x, zeros({2}, DType::boolean), 0),
                       "masked_fill: sizes must match or be 1, from the last axis on; got x [2, 3] and mask [2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(masked_fill(zeros({2, 3}, DType::i32), mask, 0.5),
                       "masked_fill: a number beside i32 must be whole and in its range; got 0.5 and i32 [2, 3]",
                       DTypeError);
}
