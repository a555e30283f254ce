// Reductions: y[o, i] = op over r of x[o, r, i].
//
// Rows (inner = 1): a team for each, which reads 16 bytes at a time where rows are contiguous. Columns: 32 of them side
// by side, whose rows several groups of threads share. Where there are too few rows or columns to fill the device, each
// is cut into chunks, and a second kernel reduces their partial results. Every element is read once. Sums are taken in
// segments, so that rounding errors grow with the square root of the length; the order depends on sizes only.
#include "cuda/rows.cuh"
#include "ops/reduce.h"
#include "ops/reduce_loops.h"

namespace moegrad::cuda {

constexpr int kSegment = 64;            // values that one accumulator takes before it is added to the total
constexpr i64 kChunk = 1 << 13;         // elements for a block: fewer are not worth a second kernel
constexpr int kReduceThreads = kBlock;  // of a block

// How x is cut: `count` chunks of `length` elements along the reduced axis.
struct ReduceChunks {
  i64 length, count;
};
// tasks: blocks without cutting; step: elements that a block takes at once.
ReduceChunks cut(i64 n, i64 tasks, i64 step) {
  const i64 wanted = std::min(kEnough / std::max<i64>(tasks, 1), ceil_div(n, kChunk));
  if (wanted <= 1) return {n, 1};
  const i64 length = ceil_div(ceil_div(n, wanted), step) * step;
  return {length, ceil_div(n, length)};
}

template <class Y, class Op> struct Accumulator {
  Op op;
  Y total, part;
  int left = kSegment;
  __device__ explicit Accumulator(Op o) : op(o), total(o.first), part(o.first) {}
  __device__ void add(Y v) {
    part = op(part, v);
    if (--left == 0) close();
  }
  __device__ void close() {
    total = op(total, part);
    part = op.first;
    left = kSegment;
  }
};

template <class Y, int V, class X, class Op> __device__ inline Y fold(const Pack<X, V>& pack, Op op) {
  Y v[V];
#pragma unroll
  for (int k = 0; k < V; ++k) v[k] = static_cast<Y>(value(pack.element[k]));
#pragma unroll
  for (int half = V / 2; half > 0; half /= 2)
#pragma unroll
    for (int k = 0; k < half; ++k) v[k] = op(v[k], v[k + half]);
  return v[0];
}

// The part of elements [begin, end) of a row that falls to one thread. V > 1: contiguous, and `begin` is on a border.
template <int V, class Y, class Op, class X>
__device__ inline Y reduce_part(Op op, const X* row, i64 begin, i64 end, i64 stride, Team team) {
  Accumulator<Y, Op> sum(op);
  i64 i = begin;
  if constexpr (V > 1) {
    const i64 packs = (end - begin) / V;
    const Pack<X, V>* from = reinterpret_cast<const Pack<X, V>*>(row + begin);
#pragma unroll 4
    for (i64 p = team.rank(); p < packs; p += team.size) sum.add(fold<Y>(from[p], op));
    i += packs * V;
  }
#pragma unroll 4
  for (i += team.rank(); i < end; i += team.size) sum.add(static_cast<Y>(value(row[i * stride])));
  sum.close();
  return sum.total;
}

template <int V, class Op, class X, class Y>
__global__ void __launch_bounds__(kReduceThreads)
    reduce_rows_kernel(Op op, const X* x, Y* y, ReducePlan plan, ReduceChunks chunks, i64 tasks, Team team) {
  for (i64 first = i64{blockIdx.x} * team.count(); first < tasks; first += i64{gridDim.x} * team.count()) {
    const i64 task = first + team.number();
    Y total = op.first;
    if (task < tasks) {
      const i64 o = task / chunks.count, begin = (task - o * chunks.count) * chunks.length;
      total = reduce_part<V, Y>(op, x + Offsets<1>(plan.outer, o).of[0], begin, min(plan.count, begin + chunks.length),
                                plan.count_stride, team);
    }
    total = team.reduce(total, op, op.first);
    if (task < tasks && team.rank() == 0) y[task] = total;
  }
}

template <class Op, class X, class Y>
__global__ void __launch_bounds__(kReduceThreads)
    reduce_columns_kernel(Op op, const X* x, Y* y, ReducePlan plan, ReduceChunks chunks, i64 tasks, ColumnGrid grid) {
  for (i64 task = blockIdx.x; task < tasks; task += gridDim.x) {
    const i64 tile = task % grid.tiles, chunk = task / grid.tiles % chunks.count, o = task / grid.tiles / chunks.count,
              i = tile * grid.columns.width + grid.columns.column();
    const i64 begin = chunk * chunks.length, end = min(plan.count, begin + chunks.length);
    Accumulator<Y, Op> sum(op);
    if (i < plan.inner) {
      const X* column = x + Offsets<1>(plan.outer, o).of[0] + i * plan.inner_stride;
#pragma unroll 4
      for (i64 r = begin + grid.columns.group(); r < end; r += grid.columns.groups())
        sum.add(static_cast<Y>(value(column[r * plan.count_stride])));
      sum.close();
    }
    const Y total = grid.columns.reduce(sum.total, op);
    if (i < plan.inner && grid.columns.group() == 0) y[(o * chunks.count + chunk) * plan.inner + i] = total;
  }
}

// ---- the choice

// Rows lie so that each begins on a border of 16 bytes.
template <class X> bool rows_in_packs(const X* x, const ReducePlan& p) {
  bool fits = p.count_stride == 1 && aligned(x);
  for (int i = 0; i < p.outer.rank; ++i)
    fits &= p.outer.sizes[i] == 1 || p.outer.strides[0][i] % static_cast<i64>(16 / sizeof(X)) == 0;
  return fits;
}

// Reduces to `to`, or to partial results and those to `to`.
template <class Op, class Y, class Stage>
void in_chunks(Op op, const ReduceChunks& chunks, i64 outer, i64 inner, Y* to, const Stage& stage) {
  if (chunks.count == 1) return stage(to);
  const Scratch<Y> partial(outer * chunks.count * inner);
  stage(partial.data());
  ReducePlan rest;
  rest.outer.sizes[0] = outer;
  rest.outer.strides[0][0] = chunks.count * inner;
  rest.count = chunks.count;
  rest.count_stride = inner;
  rest.inner = inner;
  rest.inner_stride = 1;
  reduce_blocks(op, static_cast<const Y*>(partial.data()), to, rest);
}

template <int V, class Op, class X, class Y> void reduce_rows(Op op, const X* x, Y* y, const ReducePlan& p) {
  const i64 outer = p.outer.elements();
  const RowGrid alone = rows_grid(outer, p.count, V * 4, kReduceThreads);
  const ReduceChunks chunks = cut(p.count, alone.blocks.x, 16);
  in_chunks(op, chunks, outer, 1, y, [&](Y* to) {
    const i64 tasks = outer * chunks.count;
    const RowGrid g = rows_grid(tasks, chunks.length, V * 4, kReduceThreads);
    launch("reduce", g.blocks, g.threads, 0, reduce_rows_kernel<V, Op, X, Y>, op, x, to, p, chunks, tasks, g.team);
  });
}

template <class Op, class X, class Y> void reduce_columns(Op op, const X* x, Y* y, const ReducePlan& p) {
  const i64 outer = p.outer.elements();
  const ColumnGrid g = columns_grid(p.count, p.inner, 4, kReduceThreads);
  const ReduceChunks chunks = cut(p.count * g.columns.width, outer * g.tiles, g.threads.x);
  const i64 length = ceil_div(chunks.length, g.columns.width);
  const ReduceChunks rows{length, ceil_div(p.count, length)};
  in_chunks(op, rows, outer, p.inner, y, [&](Y* to) {
    const i64 tasks = outer * rows.count * g.tiles;
    launch("reduce", blocks_for(tasks), g.threads, 0, reduce_columns_kernel<Op, X, Y>, op, x, to, p, rows, tasks, g);
  });
}

template <class Op, class X, class Y> void reduce_blocks(Op op, const X* x, Y* y, const ReducePlan& p) {
  constexpr int kWide = sizeof(X) == 1 ? 8 : kPack<X>;  // bool: sixteen results would not stay in registers
  if (p.inner > 1)
    reduce_columns(op, x, y, p);
  else if (kWide > 1 && rows_in_packs(x, p) && p.count >= kWide)
    reduce_rows<kWide>(op, x, y, p);
  else
    reduce_rows<1>(op, x, y, p);
}

namespace f = formula;
#define MOEGRAD_REDUCE(OP, X, Y) template void reduce_blocks(OP, const X*, Y*, const ReducePlan&);
#define MOEGRAD_REDUCE_FLOATS(OP)               \
  MOEGRAD_REDUCE(f::OP<float>, float, float)    \
  MOEGRAD_REDUCE(f::OP<float>, bf16, float)     \
  MOEGRAD_REDUCE(f::OP<double>, double, double) \
  MOEGRAD_REDUCE(f::OP<i64>, i64, i64)
MOEGRAD_REDUCE_FLOATS(SumOf)
MOEGRAD_REDUCE_FLOATS(ProductOf)
MOEGRAD_REDUCE_FLOATS(MaxOf)
MOEGRAD_REDUCE_FLOATS(MinOf)
MOEGRAD_REDUCE(f::MaxOf<i32>, i32, i32)
MOEGRAD_REDUCE(f::MinOf<i32>, i32, i32)
MOEGRAD_REDUCE(f::SumOf<i64>, bool, i64)
MOEGRAD_REDUCE(f::SumOf<i64>, i32, i64)
MOEGRAD_REDUCE(f::ProductOf<i64>, bool, i64)
MOEGRAD_REDUCE(f::ProductOf<i64>, i32, i64)
MOEGRAD_REDUCE(f::AnyOf, bool, bool)
MOEGRAD_REDUCE(f::AllOf, bool, bool)

}  // namespace moegrad::cuda
