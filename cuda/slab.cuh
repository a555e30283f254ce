// Products of tiles whose operands lie in shared memory as they lie in memory, by rows, so that nothing is transposed.
//
// A block owns a tile of kEdge x kEdge results: 64 x 64 in f32, 32 x 32 in f64, which takes twice the registers and
// the shared memory. A warp has 16 rows of it, so what belongs to one row is known within a warp, and a thread kEach
// rows (8; 4 in f64) of 4 neighbouring columns. An operand is a slab, kEdge rows of kEdge columns: 16 KB (8 KB).
//
// Four steps of the sum of a warp in f32 are 32 x 8 x 4 x 4 multiply-adds, 32 cycles of a multiprocessor that makes 128
// in each. For them a thread reads 8 + 4 pieces of four numbers. Shared memory gives 128 bytes a cycle, so a read of 16
// bytes by each lane takes 4 cycles, but 2 where lanes that differ in bit 0 alone, or in bit 1 alone, want the same 16
// bytes. So bit 1 of a lane counts down and the others across: of every operand half of the lanes read the same, and
// the 12 reads take 24 cycles, less than the arithmetic.
//
// That holds while 8 pieces read at once lie in different banks, be they 8 of one row or one of each of the rows 4 j
// (j = 0 .. 7): so piece c of row r lies at place c ^ (r / 4 % 8) of its row.
#pragma once
#include "core/bf16.h"
#include "core/dtype.h"
#include "cuda/reduce.cuh"

namespace moegrad::cuda {

template <class C> inline constexpr int kEdge = sizeof(C) == 4 ? 64 : 32;
template <class C> inline constexpr int kEach = sizeof(C) == 4 ? 8 : 4;
template <class C> inline constexpr int kPieces = kEdge<C> / 4;                    // of a row, four numbers each
template <class C> inline constexpr int kSlab = kEdge<C>* kEdge<C>;                // numbers
template <class C> inline constexpr int kSlabThreads = kSlab<C> / (4 * kEach<C>);  // of a block: 128, 64
inline constexpr int kWarpRows = 16;

// ---- who has which results

/// The piece of the columns that a thread has results in.
template <class C> __device__ inline int piece_across() {
  return (lane_index() & 1) | (lane_index() >> 1 & (kPieces<C> - 2));
}
template <class C> __device__ inline int column_of(int j) { return 4 * piece_across<C>() + j; }
__device__ inline int first_row_of_warp() { return kWarpRows * warp_index(); }
/// Group `group` of four neighbouring rows of a thread, counted in fours; a thread has kEach / 4 groups.
template <class C> __device__ inline int four_down(int group) {
  const int down = (lane_index() >> 1 & 1) | (kPieces<C> == 8 ? lane_index() >> 4 << 1 : 0);
  return kWarpRows / 4 * warp_index() + down + 2 * group;
}
/// Row i of a thread.
template <class C> __device__ inline int row_of(int i) { return 4 * four_down<C>(i / 4) + i % 4; }

/// op over the threads that have results of the same row: every one gets the result.
template <class T, class Op> __device__ inline T combine(T v, int by, Op op) {
  const T other = shuffle_xor(v, by);
  return (threadIdx.x & static_cast<unsigned>(by)) ? op(other, v) : op(v, other);
}
template <class C, class Op> __device__ inline C row_reduce(C v, Op op) {
  v = combine(combine(combine(v, 1, op), 4, op), 8, op);
  if constexpr (kPieces<C> == 16) v = combine(v, 16, op);
  return v;
}

template <class C> struct Results {
  C value[kEach<C>][4] = {};
};

// ---- slabs

/// Where piece `piece` of the first of four rows lies; the other three follow kEdge apart.
template <class C> __device__ inline int place(int four_rows, int piece) {
  return 4 * (four_rows * kEdge<C> + (piece ^ four_rows % 8));
}

/// Four neighbours in memory, which one load takes (two in f64).
template <class F> struct alignas(sizeof(F) < 4 ? 4 * sizeof(F) : 16) Four { F element[4]; };

template <class C> __device__ inline void load_four(const C* from, C (&to)[4]) {
  const Four<C> four = *reinterpret_cast<const Four<C>*>(from);
#pragma unroll
  for (int j = 0; j < 4; ++j) to[j] = four.element[j];
}
template <class C> __device__ inline void store_four(C* to, const C (&from)[4]) {
  Four<C> four;
#pragma unroll
  for (int j = 0; j < 4; ++j) four.element[j] = from[j];
  *reinterpret_cast<Four<C>*>(to) = four;
}

/// What a kernel reads: rows `stride` elements apart, of which it may use `rows` and `columns`; the rest counts as 0.
template <class F> struct Window {
  const F* data;
  i64 stride, rows, columns;
};
/// The same from column `column` on.
template <class F> __device__ inline Window<F> from_column(const Window<F>& w, i64 column) {
  return {w.data + column, w.stride, w.rows, w.columns - column};
}

/// Can rows `stride` apart be read and written as Fours?
template <class F> __device__ inline bool in_fours(const F* data, i64 stride, i64 columns) {
  return reinterpret_cast<std::uintptr_t>(data) % alignof(Four<F>) == 0 && stride % 4 == 0 && columns % 4 == 0;
}

/// A slab of shared memory that knows which rows of an operand it holds, so that nothing is read twice in a row.
template <class F> class Slab {
 public:
  using C = Computed<F>;
  __device__ explicit Slab(C* data) : data_(data) {}
  __device__ const C* data() const { return data_; }

  /// Holds the first rows and columns of w, and 0 where w has none. Nobody may be reading; a barrier must follow.
  __device__ void hold(const Window<F>& w) {
    if (w.data == held_) return;
    held_ = w.data;
    if (in_fours(w.data, w.stride, w.columns))
      fill<true>(w);
    else
      fill<false>(w);
  }
  /// The memory, for another use.
  __device__ C* lend() {
    held_ = nullptr;
    return data_;
  }

 private:
  // A thread has one piece of every kStep-th row, and asks for kAtOnce of them before it waits.
  static constexpr int kStep = kSlabThreads<C> / kPieces<C>, kAtOnce = 4;
  template <bool kFours> __device__ void fill(const Window<F>& w) {
    const int thread = static_cast<int>(threadIdx.x), piece = thread % kPieces<C>;
    const int rows = up_to(kEdge<C>, w.rows), columns = up_to(4, w.columns - 4 * piece);
    const F* from = w.data + thread / kPieces<C> * w.stride + 4 * piece;
#pragma unroll 1
    for (int row = thread / kPieces<C>; row < kEdge<C>; row += kAtOnce * kStep) {
      Four<F> four[kAtOnce];
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n, from += kStep * w.stride)
        four[n] = read<kFours>(from, row + n * kStep < rows ? columns : 0);
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n) write(row + n * kStep, piece, four[n]);
    }
  }
  template <bool kFours> static __device__ Four<F> read(const F* from, int columns) {
    Four<F> four;
#pragma unroll
    for (int j = 0; j < 4; ++j) four.element[j] = !kFours && j < columns ? from[j] : convert<F>(0.0f);
    if (kFours && columns > 0) four = *reinterpret_cast<const Four<F>*>(from);
    return four;
  }
  __device__ void write(int row, int piece, const Four<F>& four) {
    C wide[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) wide[j] = convert<C>(four.element[j]);
    store_four(data_ + place<C>(row / 4, piece) + row % 4 * kEdge<C>, wide);
  }
  static __device__ int up_to(int most, i64 n) { return n > most ? most : static_cast<int>(n); }

  C* data_;
  const F* held_ = nullptr;
};

// ---- products

/// Pieces in use of n numbers of a row.
template <class C> __device__ inline int pieces_of(i64 n) {
  return static_cast<int>(n < kEdge<C> ? (n + 3) / 4 : kPieces<C>);
}

/// The four numbers of piece `piece` in each of four rows.
template <class C> __device__ inline void load_fours(const C* slab, int four_rows, int piece, C (&to)[4][4]) {
  const C* from = slab + place<C>(four_rows, piece);
#pragma unroll
  for (int r = 0; r < 4; ++r) load_four(from + r * kEdge<C>, to[r]);
}

/// sum[i][j] += row i of a times row j of b, over `pieces` pieces.
template <class C> __device__ void add_products_of_rows(Results<C>& sum, const C* a, const C* b, int pieces) {
#pragma unroll 1
  for (int piece = 0; piece < pieces; ++piece) {
    C p[4][4], q[4][4];
    load_fours(b, piece_across<C>(), piece, q);
#pragma unroll
    for (int group = 0; group < kEach<C> / 4; ++group) {
      load_fours(a, four_down<C>(group), piece, p);
#pragma unroll
      for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum.value[4 * group + i][j] += p[i][c] * q[j][c];
    }
  }
}
/// sum[i][j] += row i of a times column j of b, over `pieces` pieces of a's rows.
template <class C> __device__ void add_products(Results<C>& sum, const C* a, const C* b, int pieces) {
#pragma unroll 1
  for (int piece = 0; piece < pieces; ++piece) {
    C p[4][4], q[4][4];
    load_fours(b, piece, piece_across<C>(), q);
#pragma unroll
    for (int group = 0; group < kEach<C> / 4; ++group) {
      load_fours(a, four_down<C>(group), piece, p);
#pragma unroll
      for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum.value[4 * group + i][j] += p[i][c] * q[c][j];
    }
  }
}

/// Has this warp any of the first `rows` rows of results?
__device__ inline bool warp_has_rows(i64 rows) { return first_row_of_warp() < rows; }

/// sum += a b^T. Begins with a barrier and ends without: others may still be reading.
template <class F>
__device__ void add_rows_by_rows(Results<Computed<F>>& sum, Slab<F>& a_slab, const Window<F>& a, Slab<F>& b_slab,
                                 const Window<F>& b) {
  using C = Computed<F>;
  for (i64 column = 0; column < a.columns; column += kEdge<C>) {
    __syncthreads();
    a_slab.hold(from_column(a, column));
    b_slab.hold(from_column(b, column));
    __syncthreads();
    if (warp_has_rows(a.rows))
      add_products_of_rows(sum, a_slab.data(), b_slab.data(), pieces_of<C>(a.columns - column));
  }
}
/// sum[part] += tile w for kEdge columns of w after another, where `rows` rows of the tile are in use. Barriers as above.
template <int kParts, class F>
__device__ void add_tile_by_rows(Results<Computed<F>> (&sum)[kParts], const Computed<F>* tile, i64 rows, Slab<F>& slab,
                                 const Window<F>& w) {
  using C = Computed<F>;
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    if (part * kEdge<C> >= w.columns) continue;
    __syncthreads();
    slab.hold(from_column(w, part * kEdge<C>));
    __syncthreads();
    if (warp_has_rows(rows)) add_products(sum[part], tile, slab.data(), pieces_of<C>(w.rows));
  }
}

// ---- results

/// Into a slab that others have read.
template <class C> __device__ inline void store_tile(C* tile, const Results<C>& v) {
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i)
    store_four(tile + place<C>(four_down<C>(i / 4), piece_across<C>()) + i % 4 * kEdge<C>, v.value[i]);
}

/// The same factor for every row.
template <class C> struct Scaled {
  C scale;
  __device__ C operator()(int) const { return scale; }
};
/// to[row][column] = value * factor(i) for the results that exist.
template <class F, class Factor>
__device__ void store_rows(F* to, i64 stride, i64 rows, i64 columns, const Results<Computed<F>>& v, Factor factor) {
  using C = Computed<F>;
  const bool fours = in_fours(to, stride, columns);
  const int column = column_of<C>(0);
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i) {
    const int row = row_of<C>(i);
    if (row >= rows || column >= columns) continue;
    Four<F> four;
#pragma unroll
    for (int j = 0; j < 4; ++j) four.element[j] = convert<F>(v.value[i][j] * factor(i));
    F* at = to + row * stride + column;
    if (fours) {
      *reinterpret_cast<Four<F>*>(at) = four;
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (column + j < columns) at[j] = four.element[j];
    }
  }
}

}  // namespace moegrad::cuda
