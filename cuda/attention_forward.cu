// y = softmax(scale q k^T) v with O(queries) memory, by an online softmax.
//
// A block has 64 queries of one entry of the batch and up to 128 columns of y (wider values take more blocks, each of
// which computes the scores again). It walks over keys, 64 at a time: scores in registers, 4 x 4 for each thread; the
// largest score and the sum so far of a row are the same in the 16 threads that share it; where a larger score turns
// up, what was added before is scaled down. Probabilities go to shared memory once, for the product with v.
//   Source  FlashAttention-2 (2023), arXiv:2307.08691, algorithm 1
#include "cuda/attention.cuh"

namespace moegrad::cuda {
namespace {

struct Larger {  // of two, where NaN is not larger
  template <class C> __device__ C operator()(C a, C b) const { return b > a ? b : a; }
};
template <class C> __device__ inline C infinity() { return math::Format<C>::kInfinity; }
template <class C> __device__ inline C finite_or_zero(C v) { return v - v == 0 ? v : C(0); }

// The state of the four rows of a thread.
template <class C> struct Rows {
  C top[4], sum[4];
  __device__ Rows() {
    for (int i = 0; i < 4; ++i) top[i] = -infinity<C>(), sum[i] = 0;
  }
  __device__ C shift(int i) const { return finite_or_zero(top[i]); }
};

// Scores s -> probabilities relative to the row's largest score so far, after dropout; scales what was summed before.
template <int kParts, class C>
__device__ void take_scores(Rows<C>& rows, TileSum<C>& s, TileSum<C> (&y)[kParts], const Sight& sight,
                            Dropped<C>& dropped, i64 first, i64 key, C scale) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    C top = -infinity<C>();
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const bool seen = sight.sees(first + tile_down() + i, key + tile_across() + j);
      s.value[i][j] = seen ? s.value[i][j] * scale : -infinity<C>();
      top = Larger{}(top, s.value[i][j]);
    }
    top = Larger{}(rows.top[i], warp_reduce<16>(top, Larger{}));
    // Where nothing was seen so far there is nothing to scale, and 0 * e^(0 - shift) could be NaN.
    const C before = rows.top[i] == -infinity<C>() ? C(0) : math::exp(rows.shift(i) - finite_or_zero(top));
    rows.top[i] = top;
    C sum = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const C p = s.value[i][j] == -infinity<C>() ? C(0) : math::exp(s.value[i][j] - rows.shift(i));
      s.value[i][j] = p;
      sum += p;
    }
    rows.sum[i] = rows.sum[i] * before + warp_reduce<16>(sum, Addition{});
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int j = 0; j < 4; ++j) y[part].value[i][j] *= before;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) s.value[i][j] *= dropped.factor(first + tile_down() + i, key + tile_across() + j);
}

template <class C> struct Normalise {
  const Rows<C>& rows;
  __device__ C operator()(int i) const { return rows.sum[i] == 0 ? C(0) : 1 / rows.sum[i]; }
};

template <int kParts, class F>
__global__ void __launch_bounds__(kTileThreads)
    attention_forward_kernel(AttentionInputs<F> in, F* y, Computed<F>* lse, AttentionPlan p, i64 tiles, i64 chunks,
                             i64 works) {
  using C = Computed<F>;
  using Plan = AttentionPlan;
  C* const strips = dynamic_shared<C>();
  C* const tile = strips + 2 * kStrip;
  for (i64 number = blockIdx.x; number < works; number += gridDim.x) {
    const AttentionWork work(p, number, tiles, chunks);
    const i64 first = work.tile * kTile, column = work.chunk * kParts * kTile;
    const Sight sight(p, in.mask, work);
    Dropped<C> dropped(p, work.entry);
    Rows<C> rows;
    TileSum<C> sum[kParts];
    const Window<F> q = rows_of(in.q, Plan::kQ, p, work, first, p.queries, p.width);
    for (i64 key = 0; key < sight.end_of_keys(first); key += kTile) {
      TileSum<C> s;
      add_rows_by_rows(s, q, rows_of(in.k, Plan::kK, p, work, key, p.keys, p.width), strips);
      take_scores(rows, s, sum, sight, dropped, first, key, static_cast<C>(p.scale));
      __syncthreads();  // the tile before has been read
      store_by_columns(tile, s);
      const Window<F> v = rows_of(in.v, Plan::kV, p, work, key, p.keys, p.value_width);
      add_tile_by_rows(sum, tile, q.rows, from_column(v, column), strips);
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      store_tile(y + work.offset[Plan::kResult] + first * p.row[Plan::kResult] + column + part * kTile,
                 p.row[Plan::kResult], p.queries - first, p.value_width - column - part * kTile, sum[part],
                 Normalise<C>{rows});
    for (int i = 0; i < 4; ++i) {
      const i64 query = first + tile_down() + i;
      if (work.chunk == 0 && tile_across() == 0 && query < p.queries)
        lse[work.entry * p.queries + query] = rows.sum[i] == 0 ? infinity<C>() : rows.shift(i) + math::log(rows.sum[i]);
    }
  }
}

template <int kParts, class F>
void start_forward(const AttentionInputs<F>& in, F* y, Computed<F>* lse, const AttentionPlan& p) {
  const i64 tiles = (p.queries + kTile - 1) / kTile, chunks = parts(p.value_width, kParts * kTile);
  const i64 works = p.batch.elements() * tiles * chunks;
  launch("attention", blocks_for(works), dim3(kTileThreads), kAttentionBytes<Computed<F>>,
         attention_forward_kernel<kParts, F>, in, y, lse, p, tiles, chunks, works);
}

}  // namespace

template <class F>
void attention_forward(const AttentionInputs<F>& in, F* y, Computed<F>* lse, const AttentionPlan& plan) {
  if constexpr (wide_chunks<F>(2 * kTile))
    if (wide_chunks<F>(plan.value_width)) return start_forward<2>(in, y, lse, plan);
  start_forward<1>(in, y, lse, plan);
}

template void attention_forward(const AttentionInputs<float>&, float*, float*, const AttentionPlan&);
template void attention_forward(const AttentionInputs<double>&, double*, double*, const AttentionPlan&);
template void attention_forward(const AttentionInputs<bf16>&, bf16*, float*, const AttentionPlan&);

}  // namespace moegrad::cuda
