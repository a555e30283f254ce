// Running sums along the middle axis of [outer, count, inner], in f64 or u64.
//
// Rows (inner = 1): a warp scans tiles of 128 elements, four for each lane, and carries the total on. Columns: a thread
// for each, neighbours side by side. Where there are too few rows or columns to fill the device, each is cut into
// chunks: their sums come first, the same kernels turn those into the sums before each chunk, and every chunk starts
// from there (x is read twice). The order of sums depends on sizes only.
#include "ops/cumsum.h"

#include <type_traits>

#include "cuda/rows.cuh"

namespace moegrad::cuda {
namespace {

// The running sum: floats in f64; integers wrap around.
template <class Y> using Total = std::conditional_t<std::is_integral_v<Y>, u64, double>;

// Which elements: `count` of them `inner` apart in chunks of `length`; under `reverse` from the last one backwards.
struct Walk {
  i64 outer, count, inner, length, chunks;
  bool reverse, exclusive;
  __device__ i64 at(i64 o, i64 place, i64 i) const {
    return (o * count + (reverse ? count - 1 - place : place)) * inner + i;
  }
};

constexpr int kLane = 4;  // elements of a tile for each lane
constexpr i64 kTile = kWarp * kLane;

// before: the sum of all that precedes each chunk, [outer, chunks], or null: nothing does.
// With kSums, y is not written, but the sum of each chunk: to [outer, chunks].
template <bool kSums, class X, class Y>
__global__ void __launch_bounds__(kBlock)
    cumsum_rows_kernel(const X* x, Y* y, const Total<Y>* before, Total<Y>* sums, Walk w) {
  using T = Total<Y>;
  const i64 tasks = w.outer * w.chunks, warps = i64{gridDim.x} * warps_of_block();
  for (i64 task = i64{blockIdx.x} * warps_of_block() + warp_index(); task < tasks; task += warps) {
    const i64 o = task / w.chunks, begin = (task - o * w.chunks) * w.length, end = min(w.count, begin + w.length);
    T carried = before ? before[task] : T(0);
    for (i64 tile = begin; tile < end; tile += kTile) {
      const i64 first = tile + lane_index() * kLane;
      T v[kLane], sum = 0;
#pragma unroll
      for (int k = 0; k < kLane; ++k) {
        v[k] = first + k < end ? convert<T>(value(x[w.at(o, first + k, 0)])) : T(0);
        sum += v[k];
      }
      const T upto = warp_scan(sum, Plus{});
      const T left = shuffle_up(upto, 1);
      T running = lane_index() == 0 ? carried : carried + left;
      carried += shuffle_from(upto, kWarp - 1);
      if constexpr (!kSums) {
#pragma unroll
        for (int k = 0; k < kLane; ++k) {
          const T previous = running;
          running += v[k];
          if (first + k < end) y[w.at(o, first + k, 0)] = convert<Y>(w.exclusive ? previous : running);
        }
      }
    }
    if (kSums && lane_index() == 0) sums[task] = carried;
  }
}

// The same for columns: before and sums are [outer, chunks, inner].
template <bool kSums, class X, class Y>
__global__ void __launch_bounds__(kBlock)
    cumsum_columns_kernel(const X* x, Y* y, const Total<Y>* before, Total<Y>* sums, Walk w) {
  using T = Total<Y>;
  for (i64 task = first_index(); task < w.outer * w.chunks * w.inner; task += grid_stride()) {
    const i64 i = task % w.inner, o = task / w.inner / w.chunks, begin = task / w.inner % w.chunks * w.length,
              end = min(w.count, begin + w.length);
    T sum = before ? before[task] : T(0);
#pragma unroll 4
    for (i64 r = begin; r < end; ++r) {
      const T previous = sum;
      sum += convert<T>(value(x[w.at(o, r, i)]));
      if constexpr (!kSums) y[w.at(o, r, i)] = convert<Y>(w.exclusive ? previous : sum);
    }
    if (kSums) sums[task] = sum;
  }
}

template <bool kSums, class X, class Y>
void run(const X* x, Y* y, const Total<Y>* before, Total<Y>* sums, const Walk& w) {
  const i64 tasks = w.outer * w.chunks;
  if (w.inner == 1) {
    const dim3 threads = threads_for(tasks * kWarp);
    launch("cumsum", blocks_for(ceil_div(tasks * kWarp, threads.x)), threads, 0, cumsum_rows_kernel<kSums, X, Y>, x, y,
           before, sums, w);
  } else {
    const Grid g = grid_for(tasks * w.inner);
    launch("cumsum", g.blocks, g.threads, 0, cumsum_columns_kernel<kSums, X, Y>, x, y, before, sums, w);
  }
}

// Chunks that make enough tasks for threads (columns) or warps (rows), but are long enough to be worth it.
void cut(Walk& w) {
  const bool rows = w.inner == 1;
  const i64 tasks = w.outer * w.inner, most = kEnough * (rows ? kBlock / kWarp : kBlock);
  const i64 wanted = std::min(most / std::max<i64>(tasks, 1), w.count / (rows ? 8 * kTile : 32));
  w.length = ceil_div(w.count, std::max<i64>(wanted, 1));
  if (rows) w.length = ceil_div(w.length, kTile) * kTile;
  w.chunks = ceil_div(w.count, w.length);
}

}  // namespace

template <class X, class Y>
void cumsum_blocks(const X* x, Y* y, i64 outer, i64 count, i64 inner, const CumsumOptions& options) {
  if (outer * count * inner == 0) return;
  using T = Total<Y>;
  Walk w{outer, count, inner, count, 1, options.reverse, options.exclusive};
  cut(w);
  if (w.chunks == 1) return run<false, X, Y>(x, y, nullptr, nullptr, w);
  // Sums as they are added up: f64, or i64 for u64, which wraps around alike.
  using Sum = std::conditional_t<std::is_same_v<T, u64>, i64, double>;
  const Scratch<T> sums(outer * w.chunks * inner), before(outer * w.chunks * inner);
  run<true, X, Y>(x, y, nullptr, sums.data(), w);
  cumsum_blocks(reinterpret_cast<const Sum*>(sums.data()), reinterpret_cast<Sum*>(before.data()), outer, w.chunks,
                inner, {.reverse = false, .exclusive = true});
  run<false, X, Y>(x, y, before.data(), nullptr, w);
}

#define MOEGRAD_CUMSUM(X, Y) template void cumsum_blocks(const X*, Y*, i64, i64, i64, const CumsumOptions&);
MOEGRAD_CUMSUM(float, float)
MOEGRAD_CUMSUM(double, double)
MOEGRAD_CUMSUM(bf16, bf16)
MOEGRAD_CUMSUM(i32, i64)
MOEGRAD_CUMSUM(i64, i64)
MOEGRAD_CUMSUM(bool, i64)

}  // namespace moegrad::cuda
