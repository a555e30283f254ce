// Recurrences along the middle axis of [outer, count, inner], in f64 or u64.
//
// A thread for each column, which takes its elements one after another, as the CPU does: a product of several factors
// could overflow where the values themselves do not. Neighbours are side by side where inner > 1. Each element is read
// and written once.
#include "ops/scan.h"

#include <type_traits>

#include "core/math.h"
#include "cuda/elementwise.cuh"

namespace moegrad::cuda {
namespace {

// Element r of column c, from the last one backwards if `reverse`.
struct Column {
  i64 first, step;
  __device__ Column(i64 c, i64 count, i64 inner, bool reverse) {
    const i64 o = c / inner;
    first = o * count * inner + (c - o * inner) + (reverse ? (count - 1) * inner : 0);
    step = reverse ? -inner : inner;
  }
  __device__ i64 operator()(i64 r) const { return first + r * step; }
};

template <class T>
__global__ void __launch_bounds__(kBlock)
    linear_scan_kernel(const T* a, const T* b, T* y, i64 columns, i64 count, i64 inner, bool reverse) {
  using Total = std::conditional_t<std::is_integral_v<T>, u64, double>;
  for (i64 c = first_index(); c < columns; c += grid_stride()) {
    const Column at(c, count, inner, reverse);
    y[at(0)] = b[at(0)];
    Total total = convert<Total>(b[at(0)]);
#pragma unroll 4
    for (i64 r = 1; r < count; ++r) {
      total = convert<Total>(a[at(r)]) * total + convert<Total>(b[at(r)]);
      y[at(r)] = convert<T>(total);
    }
  }
}

// log(e^x + ..) so far: top + log(total), where total is of e^(x - top).
struct LogSum {
  double top = -math::Format<double>::kInfinity, total = 0;
  __device__ void add(double v) {
    if (v > top) {
      total = total * math::exp(top - v) + 1;
      top = v;
    } else if (v != v || math::abs(v) != math::Format<double>::kInfinity) {
      total += math::exp(v - top);  // NaN stays
    } else if (v == top && v > 0) {
      total += 1;
    }
  }
  __device__ double value() const { return total == 0 ? top : top + math::log(total); }
};

template <class F>
__global__ void __launch_bounds__(kBlock) logcumsumexp_kernel(const F* x, F* y, i64 columns, i64 count, i64 inner) {
  for (i64 c = first_index(); c < columns; c += grid_stride()) {
    const Column at(c, count, inner, false);
    LogSum sum;
#pragma unroll 4
    for (i64 r = 0; r < count; ++r) {
      sum.add(convert<double>(x[at(r)]));
      y[at(r)] = convert<F>(sum.value());
    }
  }
}

}  // namespace

template <class T>
void linear_scan_blocks(const T* a, const T* b, T* y, i64 outer, i64 count, i64 inner, bool reverse) {
  if (count == 0) return;
  const Grid g = grid_for(outer * inner, 1, 4 * kWarp);
  launch("linear_scan", g.blocks, g.threads, 0, linear_scan_kernel<T>, a, b, y, outer * inner, count, inner, reverse);
}
template <class F> void logcumsumexp_blocks(const F* x, F* y, i64 outer, i64 count, i64 inner) {
  const Grid g = grid_for(outer * inner, 1, 4 * kWarp);
  launch("logcumsumexp", g.blocks, g.threads, 0, logcumsumexp_kernel<F>, x, y, outer * inner, count, inner);
}

#define MOEGRAD_SCAN(T) template void linear_scan_blocks(const T*, const T*, T*, i64, i64, i64, bool);
MOEGRAD_SCAN(float)
MOEGRAD_SCAN(double)
MOEGRAD_SCAN(bf16)
MOEGRAD_SCAN(i32)
MOEGRAD_SCAN(i64)
template void logcumsumexp_blocks(const float*, float*, i64, i64, i64);
template void logcumsumexp_blocks(const double*, double*, i64, i64, i64);

}  // namespace moegrad::cuda
