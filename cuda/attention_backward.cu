// The gradients of attention, from y and the log-sum-exp of each query: with P the probabilities and D the factors of
// dropout,
//   dP = D (dy v^T)     dS = P (dP - sum of P dP over keys)
//   dq = scale dS k     dk = scale dS^T q     dv = (D P)^T dy
// The sum of P dP = (D P) (dy v^T) over keys is the product of a row of y = (D P) v with that of dy, whatever the keys.
//
// Two kernels, so that every result is the sum of one block. The first has a tile of queries and walks over keys for dq;
// it leaves the sums of P dP for the second, which has a tile of keys and walks over queries for dk and dv. Both compute
// scores and dP again for each tile: three products and four. What a block owns stays in shared memory, and what a
// product of rows has read lies there for the product after it, of the same rows:
//   queries  q, dy; k, and v, whose place dS takes            four slabs, 64 KB in f32: three blocks a multiprocessor
//   keys     k, v; q, dy; a tile for D P, and then for dS     five slabs, 80 KB in f32: two blocks
// Results wider than 128 columns (32 in f64) take more blocks; operands wider than a slab are read again where needed.
//   Source  FlashAttention-2 (2023), arXiv:2307.08691, algorithm 2
#include "cuda/attention.cuh"

namespace moegrad::cuda {
namespace {

using Plan = AttentionPlan;
constexpr int kQuerySlabs = 4, kKeySlabs = 5;

// What both kernels are given.
template <class F> struct Backward {
  AttentionInputs<F> in;
  AttentionOutputs<F> out;
  const F* dy;
  AttentionGradients<F> to;
  Computed<F>* sums;  // of P dP, [batch, queries]
  Plan plan;
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
  __device__ Window<F> y(i64 i) const {
    return rows_of<F>(b.out.y, Plan::kY, b.plan, work, i, b.plan.queries, b.plan.value_width);
  }
  __device__ Window<F> dy(i64 i) const {
    return rows_of(b.dy, Plan::kDy, b.plan, work, i, b.plan.queries, b.plan.value_width);
  }
};

// ---- queries down, keys across

// The sums of P dP for the rows of a thread.
template <class F>
__device__ void row_products(Computed<F> (&sums)[kEach<Computed<F>>], const Window<F>& y, const Window<F>& dy) {
  using C = Computed<F>;
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i) sums[i] = 0;
  for (i64 c = piece_across<C>(); c < y.columns; c += kPieces<C>)
#pragma unroll
    for (int i = 0; i < kEach<C>; ++i) {
      const int row = row_of<C>(i);
      if (row < y.rows) sums[i] += convert<C>(y.data[row * y.stride + c]) * convert<C>(dy.data[row * dy.stride + c]);
    }
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i) sums[i] = row_reduce(sums[i], Addition{});
}

// s = q k^T and dp = D dP become dS, in s.
template <class C>
__device__ void take_queries(Results<C>& s, const Results<C>& dp, u32 seen, const C* lse, const C (&sums)[kEach<C>],
                             i64 queries, C scale) {
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i) {
    const C lse_of_row = row_of<C>(i) < queries ? lse[row_of<C>(i)] : C(0);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const C p = math::exp(s.value[i][j] * scale - lse_of_row);
      s.value[i][j] = bit(seen, i, j) ? p * (dp.value[i][j] - sums[i]) : C(0);
    }
  }
}

template <int kParts, class F>
__global__ void __launch_bounds__(kSlabThreads<Computed<F>>, kParts == 1 ? 3 : 2)
    attention_queries_kernel(Backward<F> b, AttentionGrid grid) {
  using C = Computed<F>;
  const Plan& p = b.plan;
  C* const shared = dynamic_shared<C>();
  for (i64 number = blockIdx.x; number < grid.works; number += gridDim.x) {
    const AttentionWork work(p, grid, number);
    Slab<F> q_slab(shared), dy_slab(shared + kSlab<C>), k_slab(shared + 2 * kSlab<C>), v_slab(shared + 3 * kSlab<C>);
    const i64 first = (grid.tiles - 1 - work.tile) * kEdge<C>, column = work.chunk * kParts * kEdge<C>;
    const i64 queries = p.queries - first, offset = work.entry * p.queries + first;
    const Operands<F> x{b, work};
    const Sight<C> sight(p, b.in.mask, work);
    const Kept kept(p, work.entry);
    C sums[kEach<C>];
    row_products(sums, x.y(first), x.dy(first));
    for (int i = 0; i < kEach<C>; ++i)
      if (work.chunk == 0 && piece_across<C>() == 0 && row_of<C>(i) < queries) b.sums[offset + row_of<C>(i)] = sums[i];
    Results<C> dq[kParts];
    for (i64 key = 0; key < sight.end_of_keys(first); key += kEdge<C>) {
      Results<C> s, dp;
      add_rows_by_rows(s, q_slab, x.q(first), k_slab, x.k(key));
      add_rows_by_rows(dp, dy_slab, x.dy(first), v_slab, x.v(key));
      if (p.drops) drop(dp, kept.tile<C, Down::queries>(first, key), static_cast<C>(p.dropout.scale));
      const u32 seen = sight.tile(first, key).template seen<C, Down::queries>();
      if (warp_has_rows(queries)) take_queries(s, dp, seen, b.out.lse + offset, sums, queries, static_cast<C>(p.scale));
      C* const tile = v_slab.lend();
      __syncthreads();  // the values have been read
      store_tile(tile, s);
      add_tile_by_rows(dq, tile, queries, k_slab, from_column(x.k(key), column));
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const i64 from = column + part * kEdge<C>;
      store_rows(b.to.dq + work.offset[Plan::kDq] + first * p.row[Plan::kDq] + from, p.row[Plan::kDq], queries,
                 p.width - from, dq[part], Scaled<C>{static_cast<C>(p.scale)});
    }
  }
}

// ---- keys down, queries across

// Four neighbours of a row of numbers, 0 behind its end.
template <class C> struct Across {
  C at[4];
  __device__ Across(const C* from, i64 count) {
#pragma unroll
    for (int j = 0; j < 4; ++j) at[j] = column_of<C>(j) < count ? from[column_of<C>(j)] : C(0);
  }
};

// s = k q^T becomes P.
template <class C> __device__ void take_keys(Results<C>& s, const Across<C>& lse, u32 seen, C scale) {
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const C p = math::exp(s.value[i][j] * scale - lse.at[j]);
      s.value[i][j] = bit(seen, i, j) ? p : C(0);
    }
}
// dp = dP becomes dS.
template <class C> __device__ void take_gradient(const Results<C>& p, Results<C>& dp, const Across<C>& sums) {
#pragma unroll
  for (int i = 0; i < kEach<C>; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) dp.value[i][j] = p.value[i][j] * (dp.value[i][j] - sums.at[j]);
}

template <int kParts, class F>
__global__ void __launch_bounds__(kSlabThreads<Computed<F>>, 2)
    attention_keys_kernel(Backward<F> b, AttentionGrid grid) {
  using C = Computed<F>;
  const Plan& p = b.plan;
  C* const shared = dynamic_shared<C>();
  C* const tile = shared + 4 * kSlab<C>;
  for (i64 number = blockIdx.x; number < grid.works; number += gridDim.x) {
    const AttentionWork work(p, grid, number);
    Slab<F> k_slab(shared), v_slab(shared + kSlab<C>), q_slab(shared + 2 * kSlab<C>), dy_slab(shared + 3 * kSlab<C>);
    const i64 first = work.tile * kEdge<C>, column = work.chunk * kParts * kEdge<C>, keys = p.keys - first;
    const Operands<F> x{b, work};
    const Sight<C> sight(p, b.in.mask, work);
    const Kept kept(p, work.entry);
    const C scale = static_cast<C>(p.scale);
    Results<C> dk[kParts], dv[kParts];
    for (i64 query = sight.begin_of_queries(first); query < p.queries; query += kEdge<C>) {
      Results<C> s, dp;
      add_rows_by_rows(s, k_slab, x.k(first), q_slab, x.q(query));
      add_rows_by_rows(dp, v_slab, x.v(first), dy_slab, x.dy(query));
      const i64 offset = work.entry * p.queries + query;
      const u32 kept_bits = p.drops ? kept.tile<C, Down::keys>(query, first) : 0;
      const C kept_scale = static_cast<C>(p.dropout.scale);
      if (p.drops) drop(dp, kept_bits, kept_scale);
      take_keys(s, Across<C>(b.out.lse + offset, p.queries - query),
                sight.tile(query, first).template seen<C, Down::keys>(), scale);
      take_gradient(s, dp, Across<C>(b.sums + offset, p.queries - query));
      if (p.drops) drop(s, kept_bits, kept_scale);
      __syncthreads();  // the tile before has been read
      store_tile(tile, s);
      add_tile_by_rows(dv, tile, keys, dy_slab, from_column(x.dy(query), column));
      __syncthreads();
      store_tile(tile, dp);
      add_tile_by_rows(dk, tile, keys, q_slab, from_column(x.q(query), column));
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const i64 from = column + part * kEdge<C>;
      store_rows(b.to.dk + work.offset[Plan::kDk] + first * p.row[Plan::kDk] + from, p.row[Plan::kDk], keys,
                 p.width - from, dk[part], Scaled<C>{scale});
      store_rows(b.to.dv + work.offset[Plan::kDv] + first * p.row[Plan::kDv] + from, p.row[Plan::kDv], keys,
                 p.value_width - from, dv[part], Scaled<C>{1});
    }
  }
}

template <int kParts, class F> void start(const Backward<F>& b) {
  using C = Computed<F>;
  const Plan& p = b.plan;
  const AttentionGrid queries = attention_grid<kParts, C>(p, p.queries, p.width);
  const AttentionGrid keys = attention_grid<kParts, C>(p, p.keys, std::max(p.width, p.value_width));
  launch("attention", blocks_for(queries.works), dim3(kSlabThreads<C>), slab_bytes<C>(kQuerySlabs),
         attention_queries_kernel<kParts, F>, b, queries);
  launch("attention", blocks_for(keys.works), dim3(kSlabThreads<C>), slab_bytes<C>(kKeySlabs),
         attention_keys_kernel<kParts, F>, b, keys);
}

}  // namespace

template <class F>
void attention_backward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const F* dy,
                        const AttentionGradients<F>& to, const AttentionPlan& plan) {
  const Scratch<Computed<F>> sums(plan.batch.elements() * plan.queries);
  const Backward<F> b{in, out, dy, to, sums.data(), plan};
  if constexpr (sizeof(Computed<F>) == 4)
    if (wide_chunks<F>(std::max(plan.width, plan.value_width))) return start<2>(b);
  start<1>(b);
}

#define MOEGRAD_ATTENTION(F)                                                                        \
  template void attention_backward(const AttentionInputs<F>&, const AttentionOutputs<F>&, const F*, \
                                   const AttentionGradients<F>&, const AttentionPlan&);
MOEGRAD_ATTENTION(float)
MOEGRAD_ATTENTION(double)
MOEGRAD_ATTENTION(bf16)

}  // namespace moegrad::cuda
