// The gradients of attention, from the log-sum-exp of each query: with P the probabilities and D the factors of dropout,
//   dP = D (dy v^T)     dS = P (dP - sum of P dP over keys)
//   dq = scale dS k     dk = scale dS^T q     dv = (D P)^T dy
//
// Two kernels, so that every result is the sum of one block. The first has 64 queries: it walks over the keys twice, for
// the sums of P dP, which it leaves for the second kernel, then for dq. The second has 64 keys and walks over queries
// for dk and dv. Both compute scores and dP again for each tile, as products of rows; 34 KB of shared memory in f32.
// Results wider than 128 columns (64 in f64) take more blocks.
//   Source  FlashAttention-2 (2023), arXiv:2307.08691, algorithm 2
#include "cuda/attention.cuh"

namespace moegrad::cuda {
namespace {

using Plan = AttentionPlan;

// What both kernels are given.
template <class F> struct Backward {
  AttentionInputs<F> in;
  const Computed<F>* lse;
  const F* dy;
  AttentionGradients<F> to;
  Computed<F>* sums;  // of P dP, [batch, queries]
  Plan plan;
};

// P and dP of a tile from the products s = q k^T and dp = dy v^T.
template <class C> struct Probabilities {
  const Sight& sight;
  Dropped<C>& dropped;
  const C* lse;  // of the entry
  C scale;
  __device__ C p(i64 query, i64 key, C s) const {
    return sight.sees(query, key) ? math::exp(s * scale - lse[query]) : C(0);
  }
};

// The rows of an entry's operands that begin at a query or a key.
template <class F> struct Operands {
  const Backward<F>& b;
  const AttentionWork& work;
  __device__ Window<F> q(i64 i) const {
    return rows_of(b.in.q, Plan::kQ, b.plan, work, i, b.plan.queries, b.plan.width);
  }
  __device__ Window<F> k(i64 j) const { return rows_of(b.in.k, Plan::kK, b.plan, work, j, b.plan.keys, b.plan.width); }
  __device__ Window<F> v(i64 j) const {
    return rows_of(b.in.v, Plan::kV, b.plan, work, j, b.plan.keys, b.plan.value_width);
  }
  __device__ Window<F> dy(i64 i) const {
    return rows_of(b.dy, Plan::kResult, b.plan, work, i, b.plan.queries, b.plan.value_width);
  }
};

// s becomes P, and dp becomes D dP, for queries down and keys across.
template <class F>
__device__ void query_tile(TileSum<Computed<F>>& s, TileSum<Computed<F>>& dp, const Operands<F>& x, i64 first, i64 key,
                           const Probabilities<Computed<F>>& of, Computed<F>* strips) {
  add_rows_by_rows(s, x.q(first), x.k(key), strips);
  add_rows_by_rows(dp, x.dy(first), x.v(key), strips);
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const i64 query = first + tile_down() + i, at = key + tile_across() + j;
      s.value[i][j] = of.p(query, at, s.value[i][j]);
      dp.value[i][j] *= of.dropped.factor(query, at);
    }
}

template <int kParts, class F>
__global__ void __launch_bounds__(kTileThreads)
    attention_queries_kernel(Backward<F> b, i64 tiles, i64 chunks, i64 works) {
  using C = Computed<F>;
  C* const strips = dynamic_shared<C>();
  C* const tile = strips + 2 * kStrip;
  const Plan& p = b.plan;
  for (i64 number = blockIdx.x; number < works; number += gridDim.x) {
    const AttentionWork work(p, number, tiles, chunks);
    const i64 first = work.tile * kTile, column = work.chunk * kParts * kTile;
    const Operands<F> x{b, work};
    const Sight sight(p, b.in.mask, work);
    Dropped<C> dropped(p, work.entry);
    const Probabilities<C> of{sight, dropped, b.lse + work.entry * p.queries, static_cast<C>(p.scale)};
    C sums[4] = {};
    for (i64 key = 0; key < sight.end_of_keys(first); key += kTile) {
      TileSum<C> s, dp;
      query_tile(s, dp, x, first, key, of, strips);
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) sums[i] += s.value[i][j] * dp.value[i][j];
    }
    for (int i = 0; i < 4; ++i) {
      const i64 query = first + tile_down() + i;
      sums[i] = warp_reduce<16>(sums[i], Addition{});
      if (work.chunk == 0 && tile_across() == 0 && query < p.queries) b.sums[work.entry * p.queries + query] = sums[i];
    }
    TileSum<C> dq[kParts];
    for (i64 key = 0; key < sight.end_of_keys(first); key += kTile) {
      TileSum<C> s, dp;
      query_tile(s, dp, x, first, key, of, strips);
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) s.value[i][j] *= dp.value[i][j] - sums[i];
      __syncthreads();  // the tile before has been read
      store_by_columns(tile, s);
      add_tile_by_rows(dq, tile, p.queries - first, from_column(x.k(key), column), strips);
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      store_tile(b.to.dq + work.offset[Plan::kDq] + first * p.row[Plan::kDq] + column + part * kTile, p.row[Plan::kDq],
                 p.queries - first, p.width - column - part * kTile, dq[part], Scaled<C>{of.scale});
  }
}

// s becomes D P, and dp becomes dS, for keys down and queries across.
template <class F>
__device__ void key_tile(TileSum<Computed<F>>& s, TileSum<Computed<F>>& dp, const Operands<F>& x, i64 first, i64 query,
                         const Probabilities<Computed<F>>& of, const Computed<F>* sums, Computed<F>* strips) {
  add_rows_by_rows(s, x.k(first), x.q(query), strips);
  add_rows_by_rows(dp, x.v(first), x.dy(query), strips);
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const i64 key = first + tile_down() + i, at = query + tile_across() + j;
      const Computed<F> p = of.p(at, key, s.value[i][j]), factor = of.dropped.factor(at, key);
      dp.value[i][j] = at < of.sight.queries ? p * (factor * dp.value[i][j] - sums[at]) : 0;
      s.value[i][j] = factor * p;
    }
}

template <int kParts, class F>
__global__ void __launch_bounds__(kTileThreads) attention_keys_kernel(Backward<F> b, i64 tiles, i64 chunks, i64 works) {
  using C = Computed<F>;
  C* const strips = dynamic_shared<C>();
  C* const tile = strips + 2 * kStrip;
  const Plan& p = b.plan;
  for (i64 number = blockIdx.x; number < works; number += gridDim.x) {
    const AttentionWork work(p, number, tiles, chunks);
    const i64 first = work.tile * kTile, column = work.chunk * kParts * kTile;
    const Operands<F> x{b, work};
    const Sight sight(p, b.in.mask, work);
    Dropped<C> dropped(p, work.entry);
    const Probabilities<C> of{sight, dropped, b.lse + work.entry * p.queries, static_cast<C>(p.scale)};
    TileSum<C> dk[kParts], dv[kParts];
    for (i64 query = sight.begin_of_queries(first); query < p.queries; query += kTile) {
      TileSum<C> s, dp;
      key_tile(s, dp, x, first, query, of, b.sums + work.entry * p.queries, strips);
      __syncthreads();  // the tile before has been read
      store_by_columns(tile, s);
      add_tile_by_rows(dv, tile, p.keys - first, from_column(x.dy(query), column), strips);
      __syncthreads();
      store_by_columns(tile, dp);
      add_tile_by_rows(dk, tile, p.keys - first, from_column(x.q(query), column), strips);
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const i64 from = column + part * kTile;
      store_tile(b.to.dk + work.offset[Plan::kDk] + first * p.row[Plan::kDk] + from, p.row[Plan::kDk], p.keys - first,
                 p.width - from, dk[part], Scaled<C>{of.scale});
      store_tile(b.to.dv + work.offset[Plan::kDv] + first * p.row[Plan::kDv] + from, p.row[Plan::kDv], p.keys - first,
                 p.value_width - from, dv[part], Scaled<C>{1});
    }
  }
}

template <int kParts, class F> void start_queries(const Backward<F>& b) {
  const i64 tiles = (b.plan.queries + kTile - 1) / kTile, chunks = parts(b.plan.width, kParts * kTile);
  const i64 works = b.plan.batch.elements() * tiles * chunks;
  launch("attention", blocks_for(works), dim3(kTileThreads), kAttentionBytes<Computed<F>>,
         attention_queries_kernel<kParts, F>, b, tiles, chunks, works);
}
template <int kParts, class F> void start_keys(const Backward<F>& b) {
  const i64 widest = std::max(b.plan.width, b.plan.value_width);
  const i64 tiles = (b.plan.keys + kTile - 1) / kTile, chunks = parts(widest, kParts * kTile);
  const i64 works = b.plan.batch.elements() * tiles * chunks;
  launch("attention", blocks_for(works), dim3(kTileThreads), kAttentionBytes<Computed<F>>,
         attention_keys_kernel<kParts, F>, b, tiles, chunks, works);
}
template <int kParts, class F> void start(const Backward<F>& b) {
  start_queries<kParts>(b);
  start_keys<kParts>(b);
}

}  // namespace

template <class F>
void attention_backward(const AttentionInputs<F>& in, const Computed<F>* lse, const F* dy,
                        const AttentionGradients<F>& to, const AttentionPlan& plan) {
  const Scratch<Computed<F>> sums(plan.batch.elements() * plan.queries);
  const Backward<F> b{in, lse, dy, to, sums.data(), plan};
  if constexpr (wide_chunks<F>(2 * kTile))
    if (wide_chunks<F>(std::max(plan.width, plan.value_width))) return start<2>(b);
  start<1>(b);
}

template void attention_backward(const AttentionInputs<float>&, const float*, const float*,
                                 const AttentionGradients<float>&, const AttentionPlan&);
template void attention_backward(const AttentionInputs<double>&, const double*, const double*,
                                 const AttentionGradients<double>&, const AttentionPlan&);
template void attention_backward(const AttentionInputs<bf16>&, const float*, const bf16*,
                                 const AttentionGradients<bf16>&, const AttentionPlan&);

}  // namespace moegrad::cuda
