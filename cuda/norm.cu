// Normalisation of rows, and its gradients.
//
// Rows of up to 8192 elements: a team for each, which keeps it in registers, so that x is read once and y written once
// (the gradient: x and dy read, dx written). Longer rows are read from memory for each of three passes (two). In the
// gradient a team takes several rows one after the other and adds up dw and db of its columns in registers; a second
// kernel adds up those of all teams. How many there are depends on sizes only: the same bits every run.
#include "ops/norm.h"

#include "core/fill.h"
#include "core/math.h"
#include "cuda/rows.cuh"
#include "ops/reduce.h"
#include "ops/reduce_loops.h"

namespace moegrad::cuda {
namespace {

template <class F> struct Parameters {
  const F *w, *b;  // may be null: 1 and 0
  __device__ F apply(F z, i64 i) const {
    if (w) z *= w[i];
    return b ? z + b[i] : z;
  }
};

// ---- forward

template <int V, int K, class F>
__global__ void __launch_bounds__(kWidest)
    norm_rows_kernel(const F* x, Parameters<F> p, F* y, F* mean, F* rstd, NormRows plan, Team team) {
  using Part = RowPart<F, V, K>;
  const F n = static_cast<F>(plan.n), eps = static_cast<F>(plan.eps);
  for (i64 first = i64{blockIdx.x} * team.count(); first < plan.rows; first += i64{gridDim.x} * team.count()) {
    const i64 row = first + team.number(), mine = row < plan.rows ? plan.n : 0;
    Part part;
    part.load(x + row * plan.n, mine, team, F(0));
    F centre = 0, square = 0;
    if (plan.centred) {
#pragma unroll
      for (int k = 0; k < K * V; ++k) centre += part.at[k / V][k % V];
      centre = team.reduce(centre, Plus{}, F(0)) / n;
    }
    // Two passes, because E[x^2] - E[x]^2 cancels where the mean is large.
#pragma unroll
    for (int k = 0; k < K * V; ++k) {
      F& c = part.at[k / V][k % V];
      c = Part::index(team, k / V) < mine ? c - centre : F(0);
      square += c * c;
    }
    const F scale = math::rsqrt(team.reduce(square, Plus{}, F(0)) / n + eps);
    if (mine == 0) continue;
    if (team.rank() == 0) {
      mean[row] = centre;
      rstd[row] = scale;
    }
#pragma unroll
    for (int k = 0; k < K * V; ++k) {
      const i64 i = Part::index(team, k / V) + k % V;
      if (i < mine) part.at[k / V][k % V] = p.apply(part.at[k / V][k % V] * scale, i);
    }
    part.store(y + row * plan.n, mine, team);
  }
}

// One block for each row.
template <class F>
__global__ void __launch_bounds__(kWidest)
    norm_long_rows_kernel(const F* x, Parameters<F> p, F* y, F* mean, F* rstd, NormRows plan) {
  const F n = static_cast<F>(plan.n), eps = static_cast<F>(plan.eps);
  for (i64 row = blockIdx.x; row < plan.rows; row += gridDim.x) {
    const F* from = x + row * plan.n;
    F centre = 0, square = 0;
    if (plan.centred) {
      for (i64 i = threadIdx.x; i < plan.n; i += blockDim.x) centre += from[i];
      centre = block_reduce(centre, Plus{}, F(0)) / n;
    }
    for (i64 i = threadIdx.x; i < plan.n; i += blockDim.x) square += (from[i] - centre) * (from[i] - centre);
    const F scale = math::rsqrt(block_reduce(square, Plus{}, F(0)) / n + eps);
    for (i64 i = threadIdx.x; i < plan.n; i += blockDim.x) y[row * plan.n + i] = p.apply((from[i] - centre) * scale, i);
    if (threadIdx.x == 0) {
      mean[row] = centre;
      rstd[row] = scale;
    }
  }
}

// ---- gradient: dx = rstd (g - mean(g) - z mean(g z)) with z = (x - mean) rstd and g = dy w; dw = sum dy z, db = sum dy

template <class F> struct Saved { const F *x, *w, *mean, *rstd, *dy; };

// The two sums over a row, of g and of g (x - mean), and what they give for one element.
template <class F> struct RowSlope {
  F mean_g, slope, scale;
  __device__ RowSlope(F sum, F sum_z, F rstd, F n, bool centred)
      : mean_g(centred ? sum / n : F(0)), slope(sum_z * rstd * rstd / n), scale(rstd) {}
  __device__ F operator()(F g, F c) const { return scale * (g - mean_g - c * slope); }
};

// Team t takes rows [t * length, (t + 1) * length), and writes its sums to rows t of to.dw and to.db.
template <int V, int K, class F>
__global__ void __launch_bounds__(kWidest)
    norm_gradient_kernel(Saved<F> from, NormGradients<F> to, NormRows plan, i64 length, Team team) {
  using Part = RowPart<F, V, K>;
  const F n = static_cast<F>(plan.n);
  const i64 number = i64{blockIdx.x} * team.count() + team.number(), begin = number * length;
  Part dw, db;
#pragma unroll
  for (int k = 0; k < K * V; ++k) dw.at[k / V][k % V] = db.at[k / V][k % V] = 0;
  for (i64 step = 0; step < length; ++step) {  // every thread of the block as often
    const i64 row = begin + step, mine = row < plan.rows ? plan.n : 0;
    Part c, g;
    c.load(from.x + row * plan.n, mine, team, F(0));
    g.load(from.dy + row * plan.n, mine, team, F(0));
    const F mean = mine > 0 ? from.mean[row] : F(0), rstd = mine > 0 ? from.rstd[row] : F(0);
    F sum = 0, sum_z = 0;
#pragma unroll
    for (int k = 0; k < K * V; ++k) {
      const i64 i = Part::index(team, k / V) + k % V;
      F &centred = c.at[k / V][k % V], &slope = g.at[k / V][k % V];
      if (i >= mine) continue;
      centred -= mean;
      dw.at[k / V][k % V] += slope * (centred * rstd);
      db.at[k / V][k % V] += slope;
      if (from.w) slope *= from.w[i];
      sum += slope;
      sum_z += slope * centred;
    }
    if (!to.dx) continue;
    if (plan.centred) sum = team.reduce(sum, Plus{}, F(0));
    const RowSlope<F> dx(sum, team.reduce(sum_z, Plus{}, F(0)), rstd, n, plan.centred);
#pragma unroll
    for (int k = 0; k < K * V; ++k) g.at[k / V][k % V] = dx(g.at[k / V][k % V], c.at[k / V][k % V]);
    g.store(to.dx + row * plan.n, mine, team);
  }
  if (begin >= plan.rows) return;
  if (to.dw) dw.store(to.dw + number * plan.n, plan.n, team);
  if (to.db) db.store(to.db + number * plan.n, plan.n, team);
}

// dx of long rows: one block for each.
template <class F>
__global__ void __launch_bounds__(kWidest) norm_long_gradient_kernel(Saved<F> from, F* dx, NormRows plan) {
  for (i64 row = blockIdx.x; row < plan.rows; row += gridDim.x) {
    const F *x = from.x + row * plan.n, *dy = from.dy + row * plan.n, mean = from.mean[row], rstd = from.rstd[row];
    F sum = 0, sum_z = 0;
    for (i64 i = threadIdx.x; i < plan.n; i += blockDim.x) {
      const F g = from.w ? dy[i] * from.w[i] : dy[i];
      sum += g;
      sum_z += g * (x[i] - mean);
    }
    if (plan.centred) sum = block_reduce(sum, Plus{}, F(0));
    const RowSlope<F> slope(sum, block_reduce(sum_z, Plus{}, F(0)), rstd, static_cast<F>(plan.n), plan.centred);
    for (i64 i = threadIdx.x; i < plan.n; i += blockDim.x)
      dx[row * plan.n + i] = slope(from.w ? dy[i] * from.w[i] : dy[i], x[i] - mean);
  }
}

// dw and db of long rows: a thread for each column of `length` rows.
template <class F>
__global__ void __launch_bounds__(kBlock)
    norm_columns_kernel(Saved<F> from, F* dw, F* db, NormRows plan, i64 length, i64 chunks) {
  for (i64 task = first_index(); task < chunks * plan.n; task += grid_stride()) {
    const i64 i = task % plan.n, begin = task / plan.n * length, end = min(plan.rows, begin + length);
    F sum = 0, sum_z = 0;
    for (i64 row = begin; row < end; ++row) {
      const F dy = from.dy[row * plan.n + i];
      sum += dy;
      sum_z += dy * ((from.x[row * plan.n + i] - from.mean[row]) * from.rstd[row]);
    }
    if (dw) dw[task] = sum_z;
    if (db) db[task] = sum;
  }
}

// ---- the sums over rows

constexpr i64 kFewestRows = 4;  // of a team, if there are enough for all

// Rows for each of the teams: `count` of them take `length` rows, the last one what is left.
struct RowChunks {
  i64 length, count;
};
RowChunks chunks_of(i64 rows, i64 most) {
  const i64 length = std::max<i64>(std::min(kFewestRows, rows), ceil_div(rows, most));
  return {length, ceil_div(rows, length)};
}

// Where a kernel writes the sums of chunks, and their sums to `to`, which may be null.
template <class F> class ColumnSums {
 public:
  ColumnSums(F* to, i64 chunks, i64 n) : to_(to), chunks_(chunks), n_(n), partial_(to && chunks > 1 ? chunks * n : 0) {}
  F* data() const { return chunks_ > 1 && to_ ? partial_.data() : to_; }
  void finish() const {
    if (!to_ || chunks_ == 1) return;
    ReducePlan plan;
    plan.count = chunks_;
    plan.count_stride = plan.inner = n_;
    plan.inner_stride = 1;
    reduce_blocks(formula::SumOf<F>{}, static_cast<const F*>(partial_.data()), to_, plan);
  }

 private:
  F* to_;
  i64 chunks_, n_;
  Scratch<F> partial_;
};

template <class F> void long_gradient(const Saved<F>& from, const NormGradients<F>& to, const NormRows& plan) {
  if (to.dx)
    launch("norm", blocks_for(plan.rows), threads_for(plan.n, kWidest), 0, norm_long_gradient_kernel<F>, from, to.dx,
           plan);
  if (!to.dw && !to.db) return;
  const RowChunks chunks = chunks_of(plan.rows, ceil_div(kEnough * kBlock, plan.n));
  const ColumnSums<F> dw(to.dw, chunks.count, plan.n), db(to.db, chunks.count, plan.n);
  const Grid g = grid_for(chunks.count * plan.n);
  launch("norm", g.blocks, g.threads, 0, norm_columns_kernel<F>, from, dw.data(), db.data(), plan, chunks.length,
         chunks.count);
  dw.finish();
  db.finish();
}

}  // namespace

template <class F> void norm_rows(const F* x, const F* w, const F* b, F* y, F* mean, F* rstd, const NormRows& plan) {
  const Parameters<F> p{w, b};
  if (plan.n > kRowInRegisters) {
    launch("norm", blocks_for(plan.rows), dim3(kWidest), 0, norm_long_rows_kernel<F>, x, p, y, mean, rstd, plan);
    return;
  }
  with_row_part<F>(plan.n, in_packs(plan.n, x, y), [&]<int V, int K>() {
    const RowGrid g = rows_grid(plan.rows, plan.n, V * K);
    launch("norm", g.blocks, g.threads, 0, norm_rows_kernel<V, K, F>, x, p, y, mean, rstd, plan, g.team);
  });
}

template <class F>
void norm_gradient(const F* x, const F* w, const F* mean, const F* rstd, const F* dy, const NormGradients<F>& to,
                   const NormRows& plan) {
  const Saved<F> from{x, w, mean, rstd, dy};
  if (plan.rows == 0) {
    if (to.dw) fill_value(to.dw, plan.n, F(0));
    if (to.db) fill_value(to.db, plan.n, F(0));
    return;
  }
  if (plan.n > kRowInRegisters) return long_gradient(from, to, plan);
  const bool packs = in_packs<F, F, F, F, F>(plan.n, x, dy, to.dx, to.dw, to.db);
  with_row_part<F>(plan.n, packs, [&]<int V, int K>() {
    const RowGrid all = rows_grid(plan.rows, plan.n, V * K);
    const i64 teams_of_block = all.threads.x / static_cast<unsigned>(all.team.size);
    const bool sums = to.dw || to.db;
    const RowChunks chunks = sums ? chunks_of(plan.rows, kEnough / 2 * teams_of_block) : RowChunks{1, plan.rows};
    const ColumnSums<F> dw(to.dw, chunks.count, plan.n), db(to.db, chunks.count, plan.n);
    launch("norm", dim3(static_cast<unsigned>(ceil_div(chunks.count, teams_of_block))), all.threads, 0,
           norm_gradient_kernel<V, K, F>, from, NormGradients<F>{to.dx, dw.data(), db.data()}, plan, chunks.length,
           all.team);
    dw.finish();
    db.finish();
  });
}

#define MOEGRAD_NORM(F)                                                                                  \
  template void norm_rows(const F*, const F*, const F*, F*, F*, F*, const NormRows&);                    \
  template void norm_gradient(const F*, const F*, const F*, const F*, const F*, const NormGradients<F>&, \
                              const NormRows&);
MOEGRAD_NORM(float)
MOEGRAD_NORM(double)

}  // namespace moegrad::cuda
