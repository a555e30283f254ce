// What the kernels of attention share: tiles of 64 queries by 64 keys, in registers, and a copy in shared memory to
// multiply them with rows of values.
#pragma once
#include "core/math.h"
#include "core/philox.h"
#include "cuda/reduce.cuh"
#include "cuda/tile.cuh"
#include "ops/attention.h"

namespace moegrad::cuda {

/// Shared memory of a block: two strips, and a tile [64, kPitch] of probabilities: 34 KB of f32.
template <class C> inline constexpr std::size_t kAttentionBytes = (2 * kStrip + kTile * kPitch) * sizeof(C);

/// One entry of the batch and one chunk of columns: what a block works at, from its number.
struct AttentionWork {
  i64 entry, tile, chunk;
  i64 offset[AttentionPlan::kOperands];

  __device__ AttentionWork(const AttentionPlan& plan, i64 number, i64 tiles, i64 chunks) {
    chunk = number % chunks;
    tile = number / chunks % tiles;
    entry = number / chunks / tiles;
    for (int o = 0; o < AttentionPlan::kOperands; ++o) offset[o] = 0;
    i64 rest = entry;
    for (int a = plan.batch.rank - 1; a >= 0; --a) {
      const i64 at = rest % plan.batch.sizes[a];
      rest /= plan.batch.sizes[a];
      for (int o = 0; o < AttentionPlan::kOperands; ++o) offset[o] += at * plan.batch.strides[o][a];
    }
  }
};

/// Up to 64 rows of an operand, from row `first` of `rows`.
template <class F>
__device__ inline Window<F> rows_of(const F* x, AttentionPlan::Operand o, const AttentionPlan& p,
                                    const AttentionWork& work, i64 first, i64 rows, i64 columns) {
  return {x + work.offset[o] + first * p.row[o], p.row[o], rows - first, columns};
}
/// The same rows, from column `column` on.
template <class F> __device__ inline Window<F> from_column(const Window<F>& w, i64 column) {
  return {w.data + column, w.stride, w.rows, w.columns - column};
}

/// Which keys a query sees.
struct Sight {
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
  __device__ bool sees(i64 i, i64 j) const {
    if (i >= queries || j >= keys || (causal && j > i + keys - queries)) return false;
    return mask == nullptr || mask[i * row + j * column];
  }
  /// Keys behind it are seen by none of the 64 queries from `first` on.
  __device__ i64 end_of_keys(i64 first) const {
    const i64 last = first + kTile < queries ? first + kTile : queries, end = last + keys - queries;
    return !causal || end > keys ? keys : end < 0 ? 0 : end;
  }
  /// No query before it sees key `first` or one behind it; a multiple of 64.
  __device__ i64 begin_of_queries(i64 first) const {
    const i64 begin = first + queries - keys;
    return !causal || begin < 0 ? 0 : begin / kTile * kTile;
  }
};

/// The factor that dropout has for the probability of key j for query i: that of element [entry, j, i] of a tensor
/// [batch, keys, queries]. Neighbouring queries share the words of one block of the generator.
template <class C> class Dropped {
 public:
  __device__ Dropped(const AttentionPlan& p, i64 entry)
      : plan_(p.dropout),
        keys_(p.keys),
        queries_(p.queries),
        entry_(entry),
        drops_(p.drops),
        step_(p.drops ? static_cast<u32>(*p.dropout.key.step) : 0) {}
  __device__ C factor(i64 i, i64 j) {
    if (!drops_) return 1;
    const i64 number = (entry_ * keys_ + j) * queries_ + i;
    if (number / 4 != block_) {
      block_ = number / 4;
      words_ = random::philox(plan_.key.seed, plan_.key.draw, step_, static_cast<u64>(block_));
    }
    const int k = static_cast<int>(number % 4);
    const u32 word = k == 0 ? words_.word[0] : k == 1 ? words_.word[1] : k == 2 ? words_.word[2] : words_.word[3];
    return (word >> 8) >= plan_.threshold ? static_cast<C>(plan_.scale) : C(0);
  }

 private:
  DropoutPlan plan_;
  i64 keys_, queries_, entry_;
  bool drops_;
  u32 step_;
  i64 block_ = -1;
  random::Words words_{};
};

/// tile[across][down] = v: results of a tile, so that sums over what lies across can follow.
template <class C> __device__ inline void store_by_columns(C* tile, const TileSum<C>& v) {
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) tile[(tile_across() + j) * kPitch + tile_down() + i] = v.value[i][j];
}

/// sum[part] += tile^T w for 64 columns of w after another, w having up to 64 rows, and the tile `rows` columns in use.
/// Begins with a barrier.
template <int kParts, class F>
__device__ void add_tile_by_rows(TileSum<Computed<F>> (&sum)[kParts], const Computed<F>* tile, i64 rows,
                                 const Window<F>& w, Computed<F>* strips) {
  const i64 used = w.rows < kTile ? w.rows : kTile;
  for (int first = 0; first < used; first += kInner) {
    __syncthreads();
#pragma unroll
    for (int part = 0; part < kParts; ++part) load_by_rows(strips + part * kStrip, from_column(w, part * kTile), first);
    __syncthreads();
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      if (has_results(rows, w.columns - part * kTile))
        add_products(sum[part], tile + first * kPitch, strips + part * kStrip, steps_of(used, first));
  }
}

struct Addition {
  template <class C> __device__ C operator()(C a, C b) const { return a + b; }
};

/// Columns of a result that a block computes: 128 where f32 and wide, because a register holds one number.
template <class F> constexpr bool wide_chunks(i64 columns) { return sizeof(Computed<F>) == 4 && columns > kTile; }
inline i64 parts(i64 n, i64 each) { return n > each ? (n + each - 1) / each : 1; }

}  // namespace moegrad::cuda
