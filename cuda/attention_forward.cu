// y = softmax(scale q k^T) v with O(queries) memory, by an online softmax.
//
// A block has a tile of queries of one entry of the batch and, in f32, up to 128 columns of y (wider values take more
// blocks, each of which computes the scores again). It walks over keys, a tile at a time: scores in registers; the
// largest score and the sum so far of a row are the same in the threads that share it; where a larger score turns up,
// what was added before is scaled down. Probabilities take the place of the keys in shared memory for the product with v.
// Three slabs, 48 KB in f32: the queries, which stay, a tile of keys, and one of values. Three blocks, twelve warps, run
// at once on a multiprocessor of Hopper, whose registers (168 for a thread) are what limits.
//   Source  FlashAttention-2 (2023), arXiv:2307.08691, algorithm 1
#include "cuda/attention.cuh"

namespace moegrad::cuda {
namespace {

constexpr int kSlabs = 3;

struct Larger {  // of two, where NaN is not larger
  template <class C> __device__ C operator()(C a, C b) const { return b > a ? b : a; }
};
template <class C> __device__ inline C infinity() { return math::Format<C>::kInfinity; }
template <class C> __device__ inline C finite_or_zero(C v) { return v - v == 0 ? v : C(0); }

// The state of the rows of a thread.
template <class C> struct Rows {
  C top[kEach<C>];
  C sum[kEach<C>];  // of the thread's own columns
  __device__ Rows() {
    for (int i = 0; i < kEach<C>; ++i) top[i] = -infinity<C>(), sum[i] = 0;
  }
  __device__ void add_up() {
    for (int i = 0; i < kEach<C>; ++i) sum[i] = row_reduce(sum[i], Addition{});
  }
  __device__ C shift(int i) const { return finite_or_zero(top[i]); }
  /// Takes note of the largest score of a tile, and says what those before must be multiplied by.
  __device__ C raise(int i, C score) {
    const C before = top[i], shift_before = shift(i);
    top[i] = Larger{}(before, score);
    // Where nothing was seen so far there is nothing to scale, and 0 * e^(0 - shift) could be NaN.
    return before == -infinity<C>() ? C(0) : top[i] == before ? C(1) : math::exp(shift_before - shift(i));
  }
};

// Scores s -> probabilities relative to the row's largest score so far; scales what was summed before.
template <int kParts, class C>
__device__ void take_scores(Rows<C>& rows, Results<C>& s, Results<C> (&y)[kParts], u32 seen, C scale) {
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i) {
    C top = -infinity<C>();
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      s.value[i][j] = bit(seen, i, j) ? s.value[i][j] * scale : -infinity<C>();
      top = Larger{}(top, s.value[i][j]);
    }
    const C before = rows.raise(i, row_reduce(top, Larger{}));
    C sum = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      s.value[i][j] = math::exp(s.value[i][j] - rows.shift(i));
      sum += s.value[i][j];
    }
    rows.sum[i] = rows.sum[i] * before + sum;
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int j = 0; j < 4; ++j) y[part].value[i][j] *= before;
  }
}

template <class C> struct Normalise {
  const Rows<C>& rows;
  __device__ C operator()(int i) const { return rows.sum[i] == 0 ? C(0) : 1 / rows.sum[i]; }
};

template <class C> __device__ void store_lse(C* lse, const Rows<C>& rows, i64 queries) {
  if (piece_across<C>() != 0) return;
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i)
    if (row_of<C>(i) < queries)
      lse[row_of<C>(i)] = rows.sum[i] == 0 ? infinity<C>() : rows.shift(i) + math::log(rows.sum[i]);
}

template <int kParts, class F>
__global__ void __launch_bounds__(kSlabThreads<Computed<F>>, kParts == 1 ? 3 : 2)
    attention_forward_kernel(AttentionInputs<F> in, AttentionOutputs<F> out, AttentionPlan p, AttentionGrid grid) {
  using C = Computed<F>;
  using Plan = AttentionPlan;
  C* const shared = dynamic_shared<C>();
  for (i64 number = blockIdx.x; number < grid.works; number += gridDim.x) {
    const AttentionWork work(p, grid, number);
    Slab<F> q_slab(shared), k_slab(shared + kSlab<C>), v_slab(shared + 2 * kSlab<C>);
    const i64 first = (grid.tiles - 1 - work.tile) * kEdge<C>, column = work.chunk * kParts * kEdge<C>;
    const i64 queries = p.queries - first;
    const Sight<C> sight(p, in.mask, work);
    const Kept kept(p, work.entry);
    Rows<C> rows;
    Results<C> sum[kParts];
    const Window<F> q = rows_of(in.q, Plan::kQ, p, work, first, p.queries, p.width);
    for (i64 key = 0; key < sight.end_of_keys(first); key += kEdge<C>) {
      Results<C> s;
      add_rows_by_rows(s, q_slab, q, k_slab, rows_of(in.k, Plan::kK, p, work, key, p.keys, p.width));
      if (warp_has_rows(queries)) {
        const u32 seen = sight.tile(first, key).template seen<C, Down::queries>();
        take_scores(rows, s, sum, seen, static_cast<C>(p.scale));
      }
      if (p.drops) drop(s, kept.tile<C, Down::queries>(first, key), static_cast<C>(p.dropout.scale));
      C* const tile = k_slab.lend();
      __syncthreads();  // the keys have been read
      store_tile(tile, s);
      const Window<F> v = rows_of(in.v, Plan::kV, p, work, key, p.keys, p.value_width);
      add_tile_by_rows(sum, tile, queries, v_slab, from_column(v, column));
    }
    rows.add_up();
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const i64 from = column + part * kEdge<C>;
      store_rows(out.y + work.offset[Plan::kY] + first * p.row[Plan::kY] + from, p.row[Plan::kY], queries,
                 p.value_width - from, sum[part], Normalise<C>{rows});
    }
    if (work.chunk == 0) store_lse(out.lse + work.entry * p.queries + first, rows, queries);
  }
}

template <int kParts, class F>
void start(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const AttentionPlan& p) {
  using C = Computed<F>;
  const AttentionGrid grid = attention_grid<kParts, C>(p, p.queries, p.value_width);
  launch("attention", blocks_for(grid.works), dim3(kSlabThreads<C>), slab_bytes<C>(kSlabs),
         attention_forward_kernel<kParts, F>, in, out, p, grid);
}

}  // namespace

template <class F>
void attention_forward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const AttentionPlan& plan) {
  if constexpr (sizeof(Computed<F>) == 4)
    if (wide_chunks<F>(plan.value_width)) return start<2>(in, out, plan);
  start<1>(in, out, plan);
}

#define MOEGRAD_ATTENTION(F) \
  template void attention_forward(const AttentionInputs<F>&, const AttentionOutputs<F>&, const AttentionPlan&);
MOEGRAD_ATTENTION(float)
MOEGRAD_ATTENTION(double)
MOEGRAD_ATTENTION(bf16)

}  // namespace moegrad::cuda
