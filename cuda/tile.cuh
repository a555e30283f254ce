// Products of tiles in plain arithmetic, for kernels that need one where cuBLAS cannot help: attention and ragged sums.
//
// A block of 16 x 16 threads (threadIdx.x = 16 down + across) owns a tile of 64 x 64 results, 4 x 4 for each thread, and
// adds up the products of kInner columns at a time, which lie in shared memory in the type of the sum: for each step of
// the sum a thread reads 8 values and makes 16 multiply-adds.
#pragma once
#include "core/bf16.h"
#include "core/dtype.h"
#include "cuda/launch.h"

namespace moegrad::cuda {

inline constexpr int kTile = 64, kInner = 32, kTileThreads = 256;
/// From row to row of a tile in shared memory: rows of 64 and a bit, so that a tile can be written by columns.
inline constexpr int kPitch = kTile + 4;
/// Elements of a strip [kInner, kPitch] in shared memory.
inline constexpr int kStrip = kInner * kPitch;

template <class C> struct TileSum {
  C value[4][4] = {};
};
__device__ inline int tile_down() { return static_cast<int>(threadIdx.x) / 16 * 4; }
__device__ inline int tile_across() { return static_cast<int>(threadIdx.x) % 16 * 4; }

/// Four neighbours, 16 bytes at a time.
template <class C> struct alignas(16) Sixteen { C element[16 / sizeof(C)]; };
template <class C> __device__ inline void load_four(const C* from, C (&to)[4]) {
  constexpr int kEach = static_cast<int>(16 / sizeof(C));
#pragma unroll
  for (int i = 0; i < 4; i += kEach) {
    const Sixteen<C> s = *reinterpret_cast<const Sixteen<C>*>(from + i);
#pragma unroll
    for (int j = 0; j < kEach; ++j) to[i + j] = s.element[j];
  }
}

/// What a kernel reads: rows `stride` elements apart, of which it may use `rows` and `columns`; the rest counts as 0.
template <class F> struct Window {
  const F* data;
  i64 stride, rows, columns;
};

/// strip[c][r] = window[r][first + c] for c < kInner, r < 64: a sum over columns.
template <class F> __device__ void load_by_columns(Computed<F>* strip, const Window<F>& w, i64 first) {
  const int c = static_cast<int>(threadIdx.x) % kInner;
  for (int r = static_cast<int>(threadIdx.x) / kInner; r < kTile; r += kTileThreads / kInner)
    strip[c * kPitch + r] =
        r < w.rows && first + c < w.columns ? convert<Computed<F>>(w.data[r * w.stride + first + c]) : 0;
}
/// strip[r][c] = window[first + r][c] for r < kInner, c < 64: a sum over rows.
template <class F> __device__ void load_by_rows(Computed<F>* strip, const Window<F>& w, i64 first) {
  const int c = static_cast<int>(threadIdx.x) % kTile;
  for (int r = static_cast<int>(threadIdx.x) / kTile; r < kInner; r += kTileThreads / kTile)
    strip[r * kPitch + c] =
        first + r < w.rows && c < w.columns ? convert<Computed<F>>(w.data[(first + r) * w.stride + c]) : 0;
}

/// sum[i][j] += a[k][down + i] b[k][across + j] over the first `steps` rows k of two strips.
template <class C> __device__ inline void add_products(TileSum<C>& sum, const C* a, const C* b, int steps) {
#pragma unroll 8
  for (int k = 0; k < steps; ++k) {
    C p[4], q[4];
    load_four(a + k * kPitch + tile_down(), p);
    load_four(b + k * kPitch + tile_across(), q);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) sum.value[i][j] += p[i] * q[j];
  }
}
/// Rows of a strip that are in use, of those from `first` to n.
__device__ inline int steps_of(i64 n, i64 first) { return static_cast<int>(n - first < kInner ? n - first : kInner); }
/// A thread none of whose results is within `rows` and `columns` has nothing to add.
__device__ inline bool has_results(i64 rows, i64 columns) { return tile_down() < rows && tile_across() < columns; }

/// sum += a b^T: products of rows of two windows. strips: 2 kStrip elements. Begins and ends without a barrier: others
/// may still be reading.
template <class F>
__device__ void add_rows_by_rows(TileSum<Computed<F>>& sum, const Window<F>& a, const Window<F>& b,
                                 Computed<F>* strips) {
  const bool adds = has_results(a.rows, b.rows);
  for (i64 first = 0; first < a.columns; first += kInner) {
    __syncthreads();
    load_by_columns(strips, a, first);
    load_by_columns(strips + kStrip, b, first);
    __syncthreads();
    if (adds) add_products(sum, strips, strips + kStrip, steps_of(a.columns, first));
  }
}

/// The same factor for every row.
template <class C> struct Scaled {
  C scale;
  __device__ C operator()(int) const { return scale; }
};
/// to[row][column] = value * factor(i) for the results of a tile that exist.
template <class F, class Factor>
__device__ void store_tile(F* to, i64 stride, i64 rows, i64 columns, const TileSum<Computed<F>>& sum, Factor factor) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int r = tile_down() + i, c = tile_across() + j;
      if (r < rows && c < columns) to[r * stride + c] = convert<F>(sum.value[i][j] * factor(i));
    }
}

}  // namespace moegrad::cuda
