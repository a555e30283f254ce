// Positions of true elements. A block counts those of its chunk of 4096, 16 for each thread; the counts are added up
// (cuda/counting.cuh); then each block goes through its chunk again, and a thread writes its positions behind those of
// the threads and chunks before it. x is read twice, y written once.
#include "ops/nonzero.h"

#include "cuda/counting.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/reduce.cuh"

namespace moegrad::cuda {
namespace {

constexpr int kEach = 16;

struct Plus {
  __device__ int operator()(int a, int b) const { return a + b; }
};

// The true ones among 16 elements from `first` on, as bits.
__device__ unsigned true_bits(const bool* x, i64 first, i64 n, bool aligned) {
  unsigned bits = 0;
  if (aligned && first + kEach <= n) {
    const auto pack = reinterpret_cast<const Pack<unsigned char, kEach>*>(x)[first / kEach];
    for (int k = 0; k < kEach; ++k) bits |= pack.element[k] ? 1u << k : 0;
  } else {
    for (int k = 0; k < kEach; ++k) bits |= first + k < n && x[first + k] ? 1u << k : 0;
  }
  return bits;
}

__global__ void __launch_bounds__(kBlock) count_true_kernel(const bool* x, i64 n, i64* counts, bool aligned) {
  const i64 chunk = i64{kEach} * blockDim.x;
  for (i64 c = blockIdx.x; c * chunk < n; c += gridDim.x) {
    const unsigned bits = true_bits(x, c * chunk + i64{kEach} * threadIdx.x, n, aligned);
    const int total = block_reduce(__popc(bits), Plus{}, 0);
    if (threadIdx.x == 0) counts[c] = total;
  }
}

__global__ void __launch_bounds__(kBlock)
    true_positions_kernel(const bool* x, i64* y, const i64* counts, NonzeroPlan p, bool aligned) {
  const i64 chunk = i64{kEach} * blockDim.x;
  for (i64 c = blockIdx.x; c * chunk < p.elements; c += gridDim.x) {
    const i64 first = c * chunk + i64{kEach} * threadIdx.x;
    const unsigned bits = true_bits(x, first, p.elements, aligned);
    i64* row = y + (counts[c] + block_scan(__popc(bits), Plus{}, 0).before) * p.rank;
    for (int k = 0; k < kEach; ++k) {
      if (!(bits >> k & 1)) continue;
      i64 rest = first + k;
      for (int a = p.rank - 1; a >= 0; --a) row[a] = rest % p.sizes[a], rest /= p.sizes[a];
      row += p.rank;
    }
  }
}

}  // namespace

void nonzero_positions(const bool* x, i64* y, const NonzeroPlan& p) {
  const dim3 threads = threads_for((p.elements + kEach - 1) / kEach);
  const i64 chunk = i64{kEach} * threads.x, chunks = (p.elements + chunk - 1) / chunk;
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % kEach == 0;
  const Scratch<i64> counts(chunks), total(1);
  launch("nonzero", blocks_for(chunks), threads, 0, count_true_kernel, x, p.elements, counts.data(), aligned);
  sum_before(counts.data(), 1, chunks, total.data());
  launch("nonzero", blocks_for(chunks), threads, 0, true_positions_kernel, x, y, counts.data(), p, aligned);
}

}  // namespace moegrad::cuda
