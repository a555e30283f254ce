// Sums of powers of many tensors, and their root.
//
// 16 bytes at a time, in f64, each element read once. Blocks write partial sums, which a second kernel of one block adds
// to the total; a short tensor takes that one block alone. The order depends on sizes only.
#include "ops/global_norm.h"

#include "core/math.h"
#include "cuda/rows.cuh"

namespace moegrad::cuda {
namespace {

struct Larger {  // NaN if one is NaN
  __device__ double operator()(double a, double b) const { return math::maximum(a, b); }
};
struct Value {
  __device__ double operator()(double v) const { return v; }
};
struct Size {
  __device__ double operator()(double v) const { return math::abs(v); }
};
struct SquareOf {
  __device__ double operator()(double v) const { return v * v; }
};
struct PowerOf {
  double p;
  __device__ double operator()(double v) const { return math::pow(math::abs(v), p); }
};

// The terms of x joined: y[block] = join of those of the block, or, with kAdd, *y joined with them.
template <int V, bool kAdd, class Term, class Join, class F>
__global__ void __launch_bounds__(kBlock) add_powers_kernel(Term term, Join join, const F* x, i64 n, double* y) {
  double total = 0;
  const i64 packs = n / V;
#pragma unroll 2
  for (i64 p = first_index(); p < packs; p += grid_stride()) {
    const Pack<F, V> pack = reinterpret_cast<const Pack<F, V>*>(x)[p];
#pragma unroll
    for (int v = 0; v < V; ++v) total = join(total, term(static_cast<double>(value(pack.element[v]))));
  }
  for (i64 i = packs * V + first_index(); i < n; i += grid_stride())
    total = join(total, term(static_cast<double>(value(x[i]))));
  total = block_reduce(total, join, 0.0);
  if (threadIdx.x == 0) y[blockIdx.x] = kAdd ? join(y[blockIdx.x], total) : total;
}
__global__ void take_root_kernel(double* total, double p) {
  if (first_index() > 0) return;
  *total = p == 2 ? math::sqrt(*total) : math::pow(*total, 1 / p);
}

constexpr i64 kAlone = 1 << 14;  // elements that one block takes

template <int V, class Term, class Join, class F>
void add_terms(Term term, Join join, const F* x, i64 n, double* total) {
  const dim3 threads = threads_for(ceil_div(n, V));
  if (n <= kAlone)
    return launch("global_norm", dim3(1), threads, 0, add_powers_kernel<V, true, Term, Join, F>, term, join, x, n,
                  total);
  const i64 blocks = std::min(kEnough, ceil_div(n, kAlone / 2));
  const Scratch<double> partial(blocks);
  launch("global_norm", blocks_for(blocks), threads, 0, add_powers_kernel<V, false, Term, Join, F>, term, join, x, n,
         partial.data());
  launch("global_norm", dim3(1), threads_for(blocks), 0, add_powers_kernel<1, true, Value, Join, double>, Value{}, join,
         static_cast<const double*>(partial.data()), blocks, total);
}
template <class Term, class Join, class F> void add_any(Term term, Join join, const F* x, i64 n, double* total) {
  if (n == 0) return;
  if (aligned(x))
    add_terms<kPack<F>>(term, join, x, n, total);
  else
    add_terms<1>(term, join, x, n, total);
}

}  // namespace

template <class F> void add_powers(const F* x, i64 n, double p, double* total) {
  if (p == math::Format<double>::kInfinity)
    add_any(Size{}, Larger{}, x, n, total);
  else if (p == 2)
    add_any(SquareOf{}, Plus{}, x, n, total);
  else if (p == 1)
    add_any(Size{}, Plus{}, x, n, total);
  else
    add_any(PowerOf{p}, Plus{}, x, n, total);
}

void take_root(double* total, double p) {
  if (p == 1 || p == math::Format<double>::kInfinity) return;
  launch("global_norm", dim3(1), dim3(kWarp), 0, take_root_kernel, total, p);
}

template void add_powers(const float*, i64, double, double*);
template void add_powers(const double*, i64, double, double*);
template void add_powers(const bf16*, i64, double, double*);

}  // namespace moegrad::cuda
