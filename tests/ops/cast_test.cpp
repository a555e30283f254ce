#include "ops/cast.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("cast: every dtype to every dtype keeps small whole numbers; the same dtype is the tensor itself") {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean};
  for (DType from : all)
    for (DType to : all) {
      CAPTURE(name(from));
      CAPTURE(name(to));
      const Tensor x = tensor({{0, 1, 1}, {1, 0, 0}}, from), y = cast(x, to);
      CHECK(y.dtype() == to);
      CHECK(y.shape() == x.shape());
      CHECK(y.to_vector<double>() == x.to_vector<double>());
      CHECK(cast(transpose(x), to).to_vector<double>() == transpose(x).to_vector<double>());
      CHECK(cast(empty({0, 3}, from), to).shape() == Shape{0, 3});
      CHECK((y.ref() == x.ref()) == (from == to));
    }
}

TEST_CASE("cast: to bf16 rounds to the nearest, ties to even; its gradient is rounded on the way back") {
  const Tensor x = tensor({1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1.1p-8, 3.4e38, 1e-45}, DType::f64);
  CHECK(cast(x, DType::bf16).to_vector<double>() ==
        std::vector<double>{1, 1 + 0x1p-6, 1 + 0x1p-7, INFINITY, 0});  // 1 + 2^-7 is the next after 1
  const Tensor leaf = ones({1}, DType::bf16).requires_grad_();
  const Tensor g = grad(cast(leaf, DType::f32), {leaf}, tensor({257.5}))[0];
  CHECK(g.dtype() == DType::bf16);
  CHECK(g.item() == 258);
}

TEST_CASE("contiguous: a copy of bf16 keeps every bit, also those of a signalling NaN") {
  const std::vector<bf16> values{bf16::from_bits(0x7f81), bf16::from_bits(0xffff), bf16(1.5f), bf16::from_bits(1)};
  const Tensor copy = contiguous(transpose(from_vector(values, {2, 2})));
  const std::vector<bf16> back = transpose(copy).to_vector<bf16>();
  for (std::size_t i = 0; i < 4; ++i) CHECK(back[i].bits == values[i].bits);
}

TEST_CASE("cast: float to integer cuts towards zero, stops at the ends of the range and turns NaN into 0") {
  const Tensor x = tensor({1.9, -1.9, 1e30, -1e30, std::nan(""), INFINITY, 0x1p31, -0x1p31}, DType::f64);
  constexpr i32 low = std::numeric_limits<i32>::lowest(), most = std::numeric_limits<i32>::max();
  for (DType from : {DType::f64, DType::f32})
    CHECK(cast(cast(x, from), DType::i32).to_vector<i32>() == std::vector<i32>{1, -1, most, low, 0, most, most, low});
  const auto wide = cast(x, DType::i64).to_vector<i64>();
  CHECK(wide[2] == std::numeric_limits<i64>::max());
  CHECK(wide[3] == std::numeric_limits<i64>::lowest());
  CHECK(wide[6] == i64{1} << 31);
  CHECK(cast(tensor({0.25, 0, std::nan("")}), DType::boolean).to_vector<i64>() == std::vector<i64>{1, 0, 1});
}

TEST_CASE("cast: the gradient returns in the dtype of x, and integers have none") {
  const Tensor x = random_tensor({3, 4}, 1).requires_grad_();
  const Tensor y = cast(x, DType::f32);
  const Tensor dy = random_tensor({3, 4}, 2, -1, 1, DType::f32);
  const Tensor dx = grad(y, {x}, dy)[0];
  CHECK(dx.dtype() == DType::f64);
  CHECK(dx.to_vector<double>() == dy.to_vector<double>());
  CHECK_FALSE(cast(x, DType::i64).requires_grad());
  CHECK_FALSE(cast(x, DType::boolean).requires_grad());
}

TEST_CASE("contiguous: copies only what is not in row-major order") {
  const Tensor x = random_tensor({3, 4}, 1);
  CHECK(contiguous(x).ref() == x.ref());
  CHECK(contiguous(transpose(x)).is_contiguous());
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{0, 3}, Shape{3, 5}, Shape{2, 3, 4}, Shape{70, 130}})
    check_op({.name = "contiguous",
              .op = [](Args a) { return contiguous(a[0]); },
              .reference = naive_map([](const std::vector<double>& v) { return v[0]; }),
              .inputs = {shape},
              .order = shape.elements() > 100 ? 0 : 2});
}

TEST_CASE("cast: strided, sizes 0 and 1, every dtype to every dtype") {
  const DType all[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean};
  for (DType from : all)
    for (DType to : all)
      for (const Tensor& x : {tensor({{0, 1, 1}, {1, 0, 0}}, from), ones({}, from), zeros({2, 0}, from)})
        check_op({.name = "cast",
                  .op = [&](Args a) { return cast(a[0], to); },
                  .reference = naive_map([](const std::vector<double>& v) { return v[0]; }),
                  .inputs = {Input::fixed(x)},
                  .order = 0,
                  .f32 = false});
}

TEST_CASE("cast: gradients of order 1 and 2 through f32 and back") {
  check_op({.name = "cast",
            .op =
                [](Args x) {
                  const Tensor narrow = cast(x[0], DType::f32);
                  return cast(narrow, DType::f64) * x[0];
                },
            .reference = naive_map([](const std::vector<double>& v) { return v[0] * static_cast<float>(v[0]); }),
            .inputs = {{3, 4}},
            .tolerance = 1e-2,  // a step of 1e-5 through numbers that f32 rounds by up to 3e-8
            .f32 = false});
}
