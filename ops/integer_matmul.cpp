#include "ops/integer_matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/matmul.h"
#include "ops/views.h"

namespace moegrad {
namespace {

void check(const Tensor& a, const Tensor& b) {
  check_same_device("integer_matmul", a, b);
  for (const Tensor& x : {a, b})
    if (x.dtype() != DType::i64) throw_dtype("integer_matmul", "i64", x.dtype());
  if (a.rank() < 2 || b.rank() < 2 || a.dim(-1) != b.dim(-2))
    throw ShapeError(fmt::format("integer_matmul: operands must be [.., m, k] and [.., k, n]; got a {} and b {}",
                                 to_string(a.shape()), to_string(b.shape())));
}

}  // namespace

Tensor integer_matmul(const Tensor& a_any, const Tensor& b_any) {
  check(a_any, b_any);
  Shape shape = broadcast("integer_matmul", detail::batch_of(a_any), detail::batch_of(b_any));
  const Tensor a = contiguous(a_any), b = contiguous(b_any);
  const Nest<2> batch = detail::batch_nest(a, b, shape);
  shape.push_back(a.dim(-2));
  shape.push_back(b.dim(-1));
  const Tensor y = empty(shape, DType::i64, a.device());
  MOEGRAD_LAUNCH(a.device(), integer_matmul, a.data<i64>(), b.data<i64>(), y.data<i64>(), a.dim(-2), b.dim(-1),
                 a.dim(-1), batch);
  return y;
}

void cpu::integer_matmul(const i64* a_any, const i64* b_any, i64* y_any, i64 m, i64 n, i64 k, const Nest<2>& batch) {
  // Signed overflow is undefined in C++, that of unsigned numbers is not.
  const auto *a = reinterpret_cast<const u64*>(a_any), *b = reinterpret_cast<const u64*>(b_any);
  auto* y = reinterpret_cast<u64*>(y_any);
  constexpr i64 kGrain = 1 << 14;  // multiplications per thread
  parallel_for(batch.elements() * m, kGrain / (n * k + 1) + 1, [&](i64 begin, i64 end) {
    for (i64 row = begin; row < end; ++row) {
      walk(batch, row / m, row / m + 1, [&](const i64* offset, i64) {
        const u64 *p = a + offset[0] + row % m * k, *q = b + offset[1];
        u64* to = y + row * n;
        std::fill_n(to, n, u64{0});
        for (i64 i = 0; i < k; ++i)
          for (i64 j = 0; j < n; ++j) to[j] += p[i] * q[i * n + j];
      });
    }
  });
}

}  // namespace moegrad
