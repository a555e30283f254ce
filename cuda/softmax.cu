// Softmax, its relatives and their gradients over groups of n values, `inner` apart.
//
// Rows (inner = 1) of up to 8192 values: a team for each, which keeps it in registers: every value is read and written
// once. Other groups: columns side by side, read a second time to write the result; a long row is such a column.
// Trees are fixed: the same bits every run.
#include "ops/softmax.h"

#include "cuda/exp_sum.cuh"
#include "cuda/rows.cuh"

namespace moegrad::cuda {
namespace {

// ---- what is made of a group's sum of exponentials: NaN throughout where the largest value is infinite

template <class F> struct SoftmaxOf {
  static constexpr bool kOne = false;
  F shift, scale;
  __device__ explicit SoftmaxOf(ExpSum<F> s) : shift(s.shift()), scale(1 / s.sum + (s.top - s.top)) {}
  __device__ F operator()(F x) const { return math::exp(x - shift) * scale; }
};
template <class F> struct LogSoftmaxOf {
  static constexpr bool kOne = false;
  F shift, log_sum;
  __device__ explicit LogSoftmaxOf(ExpSum<F> s) : shift(s.shift()), log_sum(math::log(s.sum) + (s.top - s.top)) {}
  __device__ F operator()(F x) const { return (x - shift) - log_sum; }
};
template <class F> struct LogSumExpOf {
  static constexpr bool kOne = true;  // value for a group
  F value;
  __device__ explicit LogSumExpOf(ExpSum<F> s) : value(s.log_sum()) {}
};

template <int V, int K, class Result, class F>
__global__ void __launch_bounds__(kWidest) softmax_rows_kernel(const F* x, F* y, i64 rows, i64 n, Team team) {
  for (i64 first = i64{blockIdx.x} * team.count(); first < rows; first += i64{gridDim.x} * team.count()) {
    const i64 row = first + team.number(), mine = row < rows ? n : 0;
    RowPart<F, V, K> part;
    part.load(x + row * n, mine, team, kLowest<F>);
    ExpSum<F> s = ExpSum<F>::none();
#pragma unroll
    for (int k = 0; k < K * V; ++k) s.top = LargerNumber{}(s.top, part.at[k / V][k % V]);
    s.top = team.reduce(s.top, LargerNumber{}, kLowest<F>);
    const F shift = s.shift();
#pragma unroll
    for (int k = 0; k < K * V; ++k) s.sum += math::exp(part.at[k / V][k % V] - shift);
    s.sum = team.reduce(s.sum, Plus{}, F(0));
    const Result result(s);
    if constexpr (Result::kOne) {
      if (mine > 0 && team.rank() == 0) y[row] = result.value;
    } else {
#pragma unroll
      for (int k = 0; k < K * V; ++k) part.at[k / V][k % V] = result(part.at[k / V][k % V]);
      part.store(y + row * n, mine, team);
    }
  }
}

template <class Result, class F>
__global__ void __launch_bounds__(kWidest)
    softmax_columns_kernel(const F* x, F* y, SoftmaxBlocks blocks, ColumnGrid grid) {
  const i64 tasks = blocks.outer * grid.tiles;
  for (i64 task = blockIdx.x; task < tasks; task += gridDim.x) {
    const i64 o = task / grid.tiles, i = task % grid.tiles * grid.columns.width + grid.columns.column();
    const i64 at = o * blocks.n * blocks.inner + i, mine = i < blocks.inner ? blocks.n : 0;
    ExpSum<F> s = ExpSum<F>::none();
    for (i64 r = grid.columns.group(); r < mine; r += grid.columns.groups()) s.add(x[at + r * blocks.inner]);
    const Result result(grid.columns.reduce(s, JoinExpSums{}));
    if constexpr (Result::kOne) {
      if (mine > 0 && grid.columns.group() == 0) y[o * blocks.inner + i] = result.value;
    } else {
      for (i64 r = grid.columns.group(); r < mine; r += grid.columns.groups())
        y[at + r * blocks.inner] = result(x[at + r * blocks.inner]);
    }
  }
}

// ---- gradients: dx = result(y, dy, s) with s the sum of term(y, dy) over the group

struct SoftmaxSlope {
  template <class F> static __device__ F term(F p, F d) { return p * d; }
  template <class F> static __device__ F result(F p, F d, F sum) { return p * (d - sum); }
};
struct LogSoftmaxSlope {
  template <class F> static __device__ F term(F, F d) { return d; }
  template <class F> static __device__ F result(F log_p, F d, F sum) { return d - math::exp(log_p) * sum; }
};

template <int V, int K, class Slope, class F>
__global__ void __launch_bounds__(kWidest)
    softmax_rows_gradient_kernel(const F* y, const F* dy, F* dx, i64 rows, i64 n, Team team) {
  for (i64 first = i64{blockIdx.x} * team.count(); first < rows; first += i64{gridDim.x} * team.count()) {
    const i64 row = first + team.number(), mine = row < rows ? n : 0;
    RowPart<F, V, K> p, d;
    p.load(y + row * n, mine, team, F(0));
    d.load(dy + row * n, mine, team, F(0));
    F sum = 0;
#pragma unroll
    for (int k = 0; k < K * V; ++k) sum += Slope::term(p.at[k / V][k % V], d.at[k / V][k % V]);
    sum = team.reduce(sum, Plus{}, F(0));
#pragma unroll
    for (int k = 0; k < K * V; ++k) p.at[k / V][k % V] = Slope::result(p.at[k / V][k % V], d.at[k / V][k % V], sum);
    p.store(dx + row * n, mine, team);
  }
}

template <class Slope, class F>
__global__ void __launch_bounds__(kWidest)
    softmax_columns_gradient_kernel(const F* y, const F* dy, F* dx, SoftmaxBlocks blocks, ColumnGrid grid) {
  const i64 tasks = blocks.outer * grid.tiles, step = grid.columns.groups();
  for (i64 task = blockIdx.x; task < tasks; task += gridDim.x) {
    const i64 o = task / grid.tiles, i = task % grid.tiles * grid.columns.width + grid.columns.column();
    const i64 at = o * blocks.n * blocks.inner + i, mine = i < blocks.inner ? blocks.n : 0;
    F sum = 0;
    for (i64 r = grid.columns.group(); r < mine; r += step)
      sum += Slope::term(y[at + r * blocks.inner], dy[at + r * blocks.inner]);
    sum = grid.columns.reduce(sum, Plus{});
    for (i64 r = grid.columns.group(); r < mine; r += step)
      dx[at + r * blocks.inner] = Slope::result(y[at + r * blocks.inner], dy[at + r * blocks.inner], sum);
  }
}

// ---- the choice

bool in_registers(const SoftmaxBlocks& b) { return b.inner == 1 && b.n <= kRowInRegisters; }

template <class Result, class F> void softmax_any(const char* name, const F* x, F* y, const SoftmaxBlocks& b) {
  if (!in_registers(b)) {
    const ColumnGrid g = columns_grid(b.n, b.inner, 4, kWidest);
    launch(name, blocks_for(b.outer * g.tiles), g.threads, 0, softmax_columns_kernel<Result, F>, x, y, b, g);
    return;
  }
  with_row_part<F>(b.n, in_packs(b.n, x) && (Result::kOne || in_packs(b.n, y)), [&]<int V, int K>() {
    const RowGrid g = rows_grid(b.outer, b.n, V * K);
    launch(name, g.blocks, g.threads, 0, softmax_rows_kernel<V, K, Result, F>, x, y, b.outer, b.n, g.team);
  });
}

template <class Slope, class F>
void gradient_any(const char* name, const F* y, const F* dy, F* dx, const SoftmaxBlocks& b) {
  if (!in_registers(b)) {
    const ColumnGrid g = columns_grid(b.n, b.inner, 4, kWidest);
    launch(name, blocks_for(b.outer * g.tiles), g.threads, 0, softmax_columns_gradient_kernel<Slope, F>, y, dy, dx, b,
           g);
    return;
  }
  with_row_part<F>(b.n, in_packs(b.n, y, dy, dx), [&]<int V, int K>() {
    const RowGrid g = rows_grid(b.outer, b.n, V * K);
    launch(name, g.blocks, g.threads, 0, softmax_rows_gradient_kernel<V, K, Slope, F>, y, dy, dx, b.outer, b.n, g.team);
  });
}

}  // namespace

template <class F> void softmax_blocks(const F* x, F* y, const SoftmaxBlocks& b) {
  softmax_any<SoftmaxOf<F>>("softmax", x, y, b);
}
template <class F> void log_softmax_blocks(const F* x, F* y, const SoftmaxBlocks& b) {
  softmax_any<LogSoftmaxOf<F>>("log_softmax", x, y, b);
}
template <class F> void logsumexp_blocks(const F* x, F* y, const SoftmaxBlocks& b) {
  softmax_any<LogSumExpOf<F>>("logsumexp", x, y, b);
}
template <class F> void softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& b) {
  gradient_any<SoftmaxSlope>("softmax", y, dy, dx, b);
}
template <class F> void log_softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& b) {
  gradient_any<LogSoftmaxSlope>("log_softmax", y, dy, dx, b);
}

#define MOEGRAD_SOFTMAX(F)                                                      \
  template void softmax_blocks(const F*, F*, const SoftmaxBlocks&);             \
  template void log_softmax_blocks(const F*, F*, const SoftmaxBlocks&);         \
  template void logsumexp_blocks(const F*, F*, const SoftmaxBlocks&);           \
  template void softmax_gradient(const F*, const F*, F*, const SoftmaxBlocks&); \
  template void log_softmax_gradient(const F*, const F*, F*, const SoftmaxBlocks&);
MOEGRAD_SOFTMAX(float)
MOEGRAD_SOFTMAX(double)

}  // namespace moegrad::cuda
