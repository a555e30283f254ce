// Sums over the rows of two matrices, strip by strip: while threads multiply one strip of rows, the next ones are on
// their way to shared memory.
//
// A Tile says how many rows a strip has (kDeep), how many columns of the two matrices a block works at (kDown, kAcross),
// and how many pairs of strips shared memory holds (kStages, the ring): kStages - 1 of them are being copied. Copies are
// asynchronous (cp.async), so they take no registers. Between two strips there is one barrier: behind it the copies of
// all threads have arrived, and nobody still reads the pair that is overwritten next.
#pragma once
#include <cuda_pipeline_primitives.h>

#include <cstring>

#include "core/bf16.h"
#include "cuda/rows.cuh"

namespace moegrad::cuda {

/// What a sum reads: rows `stride` elements apart, of which it may use `rows` and `columns`; the rest counts as 0.
template <class F> struct RowsOf {
  const F* data;
  i64 stride, rows, columns;
};

/// From row to row of a strip: a bit more than it has columns, where Tile wants its rows in different banks.
template <class Tile, int kColumns> inline constexpr int kStripPitch = kColumns + Tile::kPad;
/// Elements of the strips of both matrices.
template <class Tile>
inline constexpr int kStripPair = Tile::kDeep*(kStripPitch<Tile, Tile::kDown> + kStripPitch<Tile, Tile::kAcross>);
/// Shared memory of a block.
template <class Tile>
inline constexpr std::size_t kRingBytes = Tile::kStages* kStripPair<Tile> * sizeof(typename Tile::Element);

/// to[0 .. V) = from[0 .. V), or zeros: there after the wait for it. Less than 4 bytes are copied at once, by way of a
/// register.
template <int V, class F> __device__ inline void copy_ahead(F* to, const F* from, bool exists) {
  constexpr std::size_t kBytes = V * sizeof(F);
  if constexpr (kBytes >= 4)
    __pipeline_memcpy_async(to, from, kBytes, exists ? 0 : kBytes);
  else
    *to = exists ? *from : F{};
}

/// to[0 .. V) = pack. 16 bytes are one store, whatever the compiler makes of the pack before; nobody reads them soon.
template <class F, int V> __device__ inline void store_pack(F* to, const Pack<F, V>& pack) {
  if constexpr (sizeof pack == sizeof(uint4)) {
    uint4 bits;
    memcpy(&bits, &pack, sizeof bits);
    __stcs(reinterpret_cast<uint4*>(to), bits);
  } else {
    *reinterpret_cast<Pack<F, V>*>(to) = pack;
  }
}

/// A thread's share of copying strips of one matrix: V columns of every few rows.
template <class Tile, int kColumns, int V> class StripCopy {
  using F = typename Tile::Element;
  static constexpr int kAcross = kColumns / V, kRowsAtOnce = Tile::kThreads / kAcross;
  static_assert(Tile::kThreads % kAcross == 0 && Tile::kDeep % kRowsAtOnce == 0);

 public:
  __device__ explicit StripCopy(const RowsOf<F>& m)
      : from_(m.data + row() * m.stride + column()),
        stride_(m.stride),
        rows_(column() < m.columns ? m.rows - row() : 0) {}
  /// Begins to copy the next strip.
  __device__ void next(F* strip) {
    F* to = strip + row() * kStripPitch<Tile, kColumns> + column();
#pragma unroll 8
    for (int r = 0; r < Tile::kDeep; r += kRowsAtOnce)
      copy_ahead<V>(to + r * kStripPitch<Tile, kColumns>, from_ + r * stride_, r < rows_);
    from_ += Tile::kDeep * stride_;
    rows_ -= Tile::kDeep;
  }

 private:
  __device__ static int row() { return static_cast<int>(threadIdx.x) / kAcross; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kAcross * V; }

  const F* from_;
  i64 stride_, rows_;  // rows_: of those from this thread's first one on, if it has a column
};

/// A thread's share of copying pairs of strips to the ring: the next pair of x and z, or nothing behind the last one. Every
/// call makes a group of copies, empty or not, so that a wait can count them.
template <class Tile, int V> class PairCopy {
  using F = typename Tile::Element;

 public:
  __device__ PairCopy(const RowsOf<F>& x, const RowsOf<F>& z) : x_(x), z_(z), rows_(x.rows) {}
  __device__ void next(F* pair) {
    if (rows_ > 0) {
      x_.next(pair);
      z_.next(pair + Tile::kDeep * kStripPitch<Tile, Tile::kDown>);
    }
    rows_ -= Tile::kDeep;
    __pipeline_commit();
  }

 private:
  StripCopy<Tile, Tile::kDown, V> x_;
  StripCopy<Tile, Tile::kAcross, V> z_;
  i64 rows_;  // that nobody has begun to copy
};

/// sum += x^T z. All threads of the block must call it, and nobody may be using the ring; at the end some threads still
/// read from it. Threads that have no part in the results (adds) copy only.
template <class Tile, int V>
__device__ void add_strips(typename Tile::Sum& sum, const RowsOf<typename Tile::Element>& x,
                           const RowsOf<typename Tile::Element>& z, typename Tile::Element* ring, bool adds) {
  constexpr int kLast = Tile::kStages - 1, kPair = kStripPair<Tile>;
  PairCopy<Tile, V> pairs(x, z);
  for (int p = 0; p < kLast; ++p) pairs.next(ring + p * kPair);
  int place = 0;
  for (i64 first = 0; first < x.rows; first += Tile::kDeep) {
    __pipeline_wait_prior(kLast - 1);
    __syncthreads();
    pairs.next(ring + (place == 0 ? kLast : place - 1) * kPair);
    const typename Tile::Element* pair = ring + place * kPair;
    if (adds) Tile::add(sum, pair, pair + Tile::kDeep * kStripPitch<Tile, Tile::kDown>);
    place = place == kLast ? 0 : place + 1;
  }
}

}  // namespace moegrad::cuda
