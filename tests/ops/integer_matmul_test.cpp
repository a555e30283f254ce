#include "ops/integer_matmul.h"

#include <doctest/doctest.h>

#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
Tensor counted(const Shape& shape, i64 first) {
  std::vector<i64> v;
  for (i64 i = 0; i < shape.elements(); ++i) v.push_back((first + i * 7) % 11 - 5);
  return from_vector(v, shape);
}
Tensor naive(Args x) {
  const Tensor &a = x[0], &b = x[1];
  Tensor y = zeros({2, 3, a.dim(-2), b.dim(-1)}, DType::i64);
  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
    double total = 0;
    for (i64 k = 0; k < a.dim(-1); ++k) total += value_at(a, {at[0], 0, at[2], k}) * value_at(b, {at[1], k, at[3]});
    set_value(y, at, total);
  });
  return y;
}
}  // namespace

TEST_CASE("integer_matmul: batches broadcast, sizes may be 0 and 1") {
  for (const i64 k : {5, 1, 0})
    check_op({.name = "integer_matmul",
              .op = [](Args x) { return integer_matmul(x[0], x[1]); },
              .reference = naive,
              .inputs = {Input::fixed(counted({2, 1, 4, k}, 1)), Input::fixed(counted({3, k, 2}, 3))},
              .order = 0,
              .f32 = false});
  CHECK_EQ(integer_matmul(counted({0, 3}, 0), counted({3, 2}, 0)).shape(), Shape{0, 2});
}

TEST_CASE("integer_matmul: exact beyond 2^53, and wraps around") {
  const i64 big = (i64{1} << 53) + 1;
  const std::vector<i64> a{big, 1, i64{1} << 62, 3}, b{1, 1, 2, 4};
  const Tensor y = integer_matmul(from_vector(a, {2, 2}), from_vector(b, {2, 2}));
  CHECK_EQ(y.to_vector<i64>(), std::vector<i64>{big + 2, big + 4, (i64{1} << 62) + 6, (i64{1} << 62) + 12});
  const Tensor doubled = integer_matmul(from_vector(std::vector<i64>{i64{1} << 62, i64{1} << 62}, {1, 2}),
                                        from_vector(std::vector<i64>{1, 1}, {2, 1}));
  CHECK_EQ(doubled.to_vector<i64>(), std::vector<i64>{std::numeric_limits<i64>::min()});
}

TEST_CASE("integer_matmul: errors") {
  CHECK_THROWS_WITH_AS(integer_matmul(zeros({2, 3}, DType::i64), zeros({4, 5}, DType::i64)),
                       "integer_matmul: operands must be [.., m, k] and [.., k, n]; got a [2, 3] and b [4, 5]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(integer_matmul(zeros({2, 3}), zeros({3, 5}, DType::i64)),
                       "integer_matmul: x must be i64; got f32", DTypeError);
}
