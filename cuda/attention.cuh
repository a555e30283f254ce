// What the kernels of attention share: who works at what, which keys a query sees, and what dropout drops. A tile of
// scores has kEdge queries by kEdge keys, 64 x 64 in f32; its products are those of cuda/slab.cuh.
//
// The count: with S queries and keys and heads of width d, a product over all scores takes S^2 d multiply-adds, about
// half of that where `causal`. Forward needs two (q k^T and P v). The gradients need five, and make seven of them: both
// kernels need the scores and dP, and computing those twice is what sums in a fixed order cost. Beside the 2 to 4 d
// multiply-adds for each score stand some 30 operations for its exponential and the rest: a quarter for a head of 64.
// Memory does not limit: a block makes 64 multiply-adds for each number that it reads of keys or values.
#pragma once
#include "core/math.h"
#include "core/philox.h"
#include "cuda/slab.cuh"
#include "ops/attention.h"

namespace moegrad::cuda {

/// Shared memory of a block that has `slabs` of them.
template <class C> constexpr std::size_t slab_bytes(int slabs) {
  return static_cast<std::size_t>(slabs) * kSlab<C> * sizeof(C);
}

/// The blocks that there is work for: each has a tile of rows and a chunk of columns of an entry of the batch.
struct AttentionGrid {
  i64 entries, tiles, chunks, works;
};
template <int kParts, class C> AttentionGrid attention_grid(const AttentionPlan& plan, i64 rows, i64 columns) {
  constexpr i64 kColumns = kParts * kEdge<C>;
  const i64 tiles = (rows + kEdge<C> - 1) / kEdge<C>, chunks = std::max<i64>(1, (columns + kColumns - 1) / kColumns);
  const i64 entries = plan.batch.elements();
  return {entries, tiles, chunks, entries * tiles * chunks};
}

/// What a block works at. The tiles of all entries in turn: those that `causal` gives most to do can go first, so that
/// none of them is left over at the end.
struct AttentionWork {
  i64 entry, tile, chunk;
  i64 offset[AttentionPlan::kOperands];

  __device__ AttentionWork(const AttentionPlan& plan, const AttentionGrid& grid, i64 number) {
    chunk = number % grid.chunks;
    entry = number / grid.chunks % grid.entries;
    tile = number / grid.chunks / grid.entries;
    for (int o = 0; o < AttentionPlan::kOperands; ++o) offset[o] = 0;
    i64 rest = entry;
    for (int a = plan.batch.rank - 1; a >= 0; --a) {
      const i64 at = rest % plan.batch.sizes[a];
      rest /= plan.batch.sizes[a];
      for (int o = 0; o < AttentionPlan::kOperands; ++o) offset[o] += at * plan.batch.strides[o][a];
    }
  }
};
/// Rows of an operand, from row `first` of `rows`.
template <class F>
__device__ inline Window<F> rows_of(const F* x, AttentionPlan::Operand o, const AttentionPlan& p,
                                    const AttentionWork& work, i64 first, i64 rows, i64 columns) {
  return {x + work.offset[o] + first * p.row[o], p.row[o], rows - first, columns};
}

/// A bit for each result [i][j] of a thread: bit 4 i + j. 32 of them in f32.
__device__ inline bool bit(u32 bits, int i, int j) { return (bits >> (4 * i + j) & 1) != 0; }

/// What lies down in a tile of scores; the other lies across.
enum class Down { queries, keys };

/// Which keys of a tile its queries see.
struct TileSight {
  int queries, keys;  // of the tile
  int diagonal;       // query i sees keys up to i + diagonal
  const bool* mask;   // of the tile, or null
  i64 row, column;

  __device__ bool sees(int i, int j) const {
    return i < queries && j < keys && j <= i + diagonal && (mask == nullptr || mask[i * row + j * column]);
  }
  /// Whether the query of a result sees its key, as bits. Most tiles are seen as a whole.
  template <class C, Down kDown> __device__ u32 seen() const {
    if (queries == kEdge<C> && keys == kEdge<C> && diagonal >= kEdge<C> - 1 && mask == nullptr) return ~0u;
    u32 bits = 0;
#pragma unroll 1
    for (int i = 0; i < kEach<C>; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int down = row_of<C>(i), across = column_of<C>(j);
        const bool seen = kDown == Down::queries ? sees(down, across) : sees(across, down);
        bits |= static_cast<u32>(seen) << (4 * i + j);
      }
    return bits;
  }
};

/// Which keys the queries of an entry see, for tiles of results in C.
template <class C> struct Sight {
  i64 queries, keys;
  bool causal;
  const bool* mask;  // of the entry, or null
  i64 row, column;

  __device__ Sight(const AttentionPlan& p, const bool* all, const AttentionWork& work)
      : queries(p.queries),
        keys(p.keys),
        causal(p.causal),
        mask(all == nullptr ? nullptr : all + work.offset[AttentionPlan::kMask]),
        row(p.row[AttentionPlan::kMask]),
        column(p.mask_column) {}
  __device__ TileSight tile(i64 query, i64 key) const {
    const i64 diagonal = causal ? query + keys - queries - key : kEdge<C>;
    return {within(queries - query, 0),
            within(keys - key, 0),
            within(diagonal, -kEdge<C>),
            mask == nullptr ? nullptr : mask + query * row + key * column,
            row,
            column};
  }
  /// Keys behind it are seen by none of the queries of the tile from `first` on.
  __device__ i64 end_of_keys(i64 first) const {
    const i64 last = first + kEdge<C> < queries ? first + kEdge<C> : queries, end = last + keys - queries;
    return !causal || end > keys ? keys : end < 0 ? 0 : end;
  }
  /// No query before it sees key `first` or one behind it; a multiple of kEdge.
  __device__ i64 begin_of_queries(i64 first) const {
    const i64 begin = first + queries - keys;
    return !causal || begin < 0 ? 0 : begin / kEdge<C> * kEdge<C>;
  }

 private:
  static __device__ int within(i64 n, int least) {
    return static_cast<int>(n > kEdge<C> ? kEdge<C> : n < least ? least : n);
  }
};

/// Which probabilities dropout keeps: for key j and query i, as element [entry, j, i] of a tensor [batch, keys, queries].
/// Neighbouring queries share the words of one block of the generator.
class Kept {
 public:
  __device__ Kept(const AttentionPlan& p, i64 entry)
      : plan_(p.dropout),
        keys_(p.keys),
        queries_(p.queries),
        entry_(entry),
        step_(p.drops ? static_cast<u32>(*p.dropout.key.step) : 0) {}

  /// For the results of a tile that begins at (query, key), as bits.
  template <class C, Down kDown> __device__ u32 tile(i64 query, i64 key) const {
    u32 bits = 0;
#pragma unroll 1
    for (int n = 0; n < kEach<C>; ++n) {
      if constexpr (kDown == Down::keys) {
        bits |= four(query + column_of<C>(0), key + row_of<C>(n)) << 4 * n;
      } else {  // four rows, 4 bits apart, of one column
        const u32 kept = four(query + row_of<C>(n / 4 * 4), key + column_of<C>(n % 4));
        const u32 spread = (kept & 1) | (kept & 2) << 3 | (kept & 4) << 6 | (kept & 8) << 9;
        bits |= spread << (n / 4 * 16 + n % 4);
      }
    }
    return bits;
  }

 private:
  // Four queries from `query` on.
  __device__ u32 four(i64 query, i64 key) const {
    const i64 number = (entry_ * keys_ + key) * queries_ + query;
    const int from = static_cast<int>(number % 4);
    const u32 low = block(number / 4);
    return from == 0 ? low : (low >> from | block(number / 4 + 1) << (4 - from)) & 15;
  }
  __device__ u32 block(i64 number) const {
    const random::Words w = random::philox(plan_.key.seed, plan_.key.draw, step_, static_cast<u64>(number));
    u32 bits = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) bits |= static_cast<u32>((w.word[k] >> 8) >= plan_.threshold) << k;
    return bits;
  }

  DropoutPlan plan_;
  i64 keys_, queries_, entry_;
  u32 step_;
};
/// x times the factors of dropout.
template <class C> __device__ void drop(Results<C>& x, u32 kept, C scale) {
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) x.value[i][j] *= bit(kept, i, j) ? scale : C(0);
}

struct Addition {
  template <class C> __device__ C operator()(C a, C b) const { return a + b; }
};

/// Columns of a result that a block computes: two slabs where f32 and wide, because a register holds one number.
template <class F> constexpr bool wide_chunks(i64 columns) {
  return sizeof(Computed<F>) == 4 && columns > kEdge<float>;
}

}  // namespace moegrad::cuda
