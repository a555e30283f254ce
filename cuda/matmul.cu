// Batches of matrix products by cuBLAS.
//
// A batch along one axis is one call, whatever its strides (0 where an operand is broadcast). Of a batch over several
// axes, as heads split off a width are, the longest axis is one call and the others are a loop, or, where that loop
// would be long, all products are one call by way of arrays of addresses, which a kernel fills (24 bytes a product).
#include "ops/matmul.h"

#include "core/bf16.h"
#include "cuda/cublas.h"
#include "cuda/launch.h"

namespace moegrad::cuda {
namespace {

constexpr i64 kMostCalls = 8;  // beyond, filling the arrays of addresses is cheaper than starting that many calls

template <class F> struct Addresses {
  const F** a;
  const F** b;
  F** y;
};

// One thread for each product.
template <class F>
__global__ void __launch_bounds__(kBlock)
    addresses_kernel(const F* a, const F* b, F* y, Nest<2> batch, i64 y_step, i64 count, Addresses<F> to) {
  for (i64 i = first_index(); i < count; i += grid_stride()) {
    i64 rest = i, from_a = 0, from_b = 0;
    for (int axis = batch.rank - 1; axis >= 0; --axis) {
      const i64 at = rest % batch.sizes[axis];
      rest /= batch.sizes[axis];
      from_a += at * batch.strides[0][axis];
      from_b += at * batch.strides[1][axis];
    }
    to.a[i] = a + from_a;
    to.b[i] = b + from_b;
    to.y[i] = y + i * y_step;
  }
}

template <class F>
void multiply_scattered(const Gemm& gemm, const F* a, const F* b, F* y, const Nest<2>& batch, i64 count) {
  Scratch<const F*> from(2 * count);
  Scratch<F*> to(count);
  const Addresses<F> at{from.data(), from.data() + count, to.data()};
  const Grid g = grid_for(count);
  launch(gemm.op, g.blocks, g.threads, 0, addresses_kernel<F>, a, b, y, batch, gemm.m * gemm.n, count, at);
  gemm_scattered<F>(gemm, at.a, at.b, at.y, count);
}

// One call for each position on the axes other than `axis`.
template <class F> void multiply_along(const Gemm& gemm, const F* a, const F* b, F* y, const Nest<2>& batch, int axis) {
  Nest<3> outer;  // y's strides beside those of a and b
  outer.rank = batch.rank;
  i64 step = gemm.m * gemm.n, along = 0;
  for (int i = batch.rank - 1; i >= 0; --i) {
    outer.sizes[i] = i == axis ? 1 : batch.sizes[i];
    outer.strides[0][i] = batch.strides[0][i], outer.strides[1][i] = batch.strides[1][i], outer.strides[2][i] = step;
    if (i == axis) along = step;
    step *= batch.sizes[i];
  }
  const int last = outer.rank - 1;
  walk(outer, 0, outer.elements(), [&](const i64* offset, i64 n) {
    for (i64 j = 0; j < n; ++j)
      gemm_strided(gemm, a + offset[0] + j * outer.strides[0][last], batch.strides[0][axis],
                   b + offset[1] + j * outer.strides[1][last], batch.strides[1][axis],
                   y + offset[2] + j * outer.strides[2][last], along, batch.sizes[axis]);
  });
}

template <class F> bool addresses_fit(const F* a, const F* b, const F* y, const BatchedMatmul& p) {
  const i64 unit = address_alignment<F>();
  const auto fits = [unit](auto bytes) { return static_cast<i64>(bytes) % unit == 0; };
  constexpr i64 kSize = sizeof(F);
  bool all = fits(p.m * p.n * kSize);
  for (const F* pointer : {a, b, y}) all &= fits(reinterpret_cast<std::uintptr_t>(pointer));
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < p.batch.rank; ++i) all &= fits(p.batch.strides[k][i] * kSize);
  return all;
}

// Where all rows of a lie one behind the other along the inner axis of the batch and b is the same for them, that axis
// is rows of one product.
void join_rows(BatchedMatmul& p) {
  const int last = p.batch.rank - 1;
  const bool joins = !p.a_transposed && p.batch.strides[1][last] == 0 && p.batch.sizes[last] > 1 &&
                     (p.m == 1 || p.batch.strides[0][last] == p.m * p.a_stride);
  if (!joins) return;
  if (p.m == 1) p.a_stride = p.batch.strides[0][last];
  if (p.a_stride < p.k) return;
  p.m *= p.batch.sizes[last];
  p.batch.sizes[last] = 1;
  merge_axes(p.batch);
}

}  // namespace

template <class F> void matmul_batched(const F* a, const F* b, F* y, const BatchedMatmul& plan) {
  const i64 count = plan.batch.elements();
  if (count == 0 || plan.m == 0 || plan.n == 0) return;
  BatchedMatmul p = plan;
  join_rows(p);
  const Gemm gemm{.op = "matmul",
                  .m = p.m,
                  .n = p.n,
                  .k = p.k,
                  .a_stride = p.a_stride,
                  .b_stride = p.b_stride,
                  .a_transposed = p.a_transposed,
                  .b_transposed = p.b_transposed};
  const i64 products = p.batch.elements();
  if (p.k == 0) return gemm_strided(gemm, a, 0, b, 0, y, p.m * p.n, products);
  int axis = 0;
  for (int i = 1; i < p.batch.rank; ++i)
    if (p.batch.sizes[i] > p.batch.sizes[axis]) axis = i;
  if (products / p.batch.sizes[axis] <= kMostCalls || !addresses_fit(a, b, y, p))
    multiply_along(gemm, a, b, y, p.batch, axis);
  else
    multiply_scattered(gemm, a, b, y, p.batch, products);
}

template void matmul_batched(const float*, const float*, float*, const BatchedMatmul&);
template void matmul_batched(const double*, const double*, double*, const BatchedMatmul&);
template void matmul_batched(const bf16*, const bf16*, bf16*, const BatchedMatmul&);

}  // namespace moegrad::cuda
