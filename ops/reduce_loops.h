// Reductions of a strided tensor over any set of axes, without copying it, in an order that depends on sizes and
// strides only: the same bits for any number of threads.
//
// Axes are taken in the order in which they lie in memory. One stage reduces the innermost group of reduced axes; where
// kept and reduced axes alternate, further stages reduce its much smaller result.
#pragma once
#include <algorithm>
#include <cmath>
#include <memory>

#include "core/nest.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "ops/cast.h"

namespace moegrad {

/// One stage: y[o, i] = op over r of x[o, r, i]. Strides in elements; y [outer, inner] is contiguous.
struct ReducePlan {
  Nest<1> outer;
  i64 count = 1, count_stride = 1;
  i64 inner = 1, inner_stride = 1;
};

// ---- CPU kernel

namespace cpu {
namespace detail {

constexpr i64 kReduceGrain = 1 << 15;  // elements per thread
constexpr i64 kColumns = 512;          // partial results of one block of columns: they stay in the L1 cache
constexpr int kLanes = 16;             // independent partial results of a row, so that its loop vectorises
constexpr i64 kPacked = 64;            // narrow contiguous rows are read together, up to this many elements

// Elements that one accumulator takes before it is added to the total: rounding errors grow with the square root of n.
inline i64 segment_of(i64 n) { return std::max<i64>(64, static_cast<i64>(std::sqrt(static_cast<double>(n)))); }

template <class Op, class X, class Y> Y reduce_lanes(Op op, const X* x, i64 n) {
  Y lane[kLanes];
  for (Y& l : lane) l = op.first;
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes)
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) lane[l] = op(lane[l], static_cast<Y>(x[i + l]));
  for (int l = 0; i < n; ++i, ++l) lane[l] = op(lane[l], static_cast<Y>(x[i]));
  tree_combine(kLanes, [&](i64 a, i64 b) { lane[a] = op(lane[a], lane[b]); });
  return lane[0];
}

template <class Op, class X, class Y> Y reduce_row(Op op, const X* x, i64 n, i64 stride) {
  Y total = op.first;
  if (n < kLanes) {
    for (i64 i = 0; i < n; ++i) total = op(total, static_cast<Y>(x[i * stride]));
    return total;
  }
  if (stride == 1 && n <= kLanes * 64) return reduce_lanes<Op, X, Y>(op, x, n);
  const i64 segment = kLanes * segment_of(n / kLanes);
  for (i64 begin = 0; begin < n; begin += segment) {
    const i64 m = std::min(segment, n - begin);
    if (stride == 1) {
      total = op(total, reduce_lanes<Op, X, Y>(op, x + begin, m));
    } else {
      Y part = op.first;
      for (i64 i = begin; i < begin + m; ++i) part = op(part, static_cast<Y>(x[i * stride]));
      total = op(total, part);
    }
  }
  return total;
}

// y[c] = op(y[c], x[r, c]) for a segment of rows
template <class Op, class X, class Y>
void add_rows(Op op, const X* x, Y* __restrict y, i64 rows, i64 row_stride, i64 columns, i64 column_stride) {
  const auto at = [](const X& v) { return static_cast<Y>(v); };
  i64 r = 0;
  if (column_stride == 1)
    for (; r + 4 <= rows; r += 4, x += 4 * row_stride) {  // four at a time: y is read and written less often
      const X *x1 = x + row_stride, *x2 = x1 + row_stride, *x3 = x2 + row_stride;
#pragma omp simd
      for (i64 c = 0; c < columns; ++c) y[c] = op(y[c], op(op(at(x[c]), at(x1[c])), op(at(x2[c]), at(x3[c]))));
    }
  for (; r < rows; ++r, x += row_stride)
    for (i64 c = 0; c < columns; ++c) y[c] = op(y[c], at(x[c * column_stride]));
}

// y[c] = op over r of x[r, c], for at most kColumns columns
template <class Op, class X, class Y>
void reduce_columns(Op op, const X* x, Y* y, i64 rows, i64 row_stride, i64 columns, i64 column_stride) {
  std::fill_n(y, columns, op.first);
  const i64 pack = kPacked / columns;
  if (pack > 1 && rows > pack && row_stride == columns && column_stride == 1) {  // several rows as one wide row
    Y wide[kPacked];
    reduce_columns(op, x, wide, rows / pack, pack * row_stride, pack * columns, i64{1});
    add_rows(op, wide, y, pack, columns, columns, 1);
    const i64 done = rows / pack * pack;
    return add_rows(op, x + done * row_stride, y, rows - done, row_stride, columns, column_stride);
  }
  const i64 segment = segment_of(rows);
  if (rows <= segment) return add_rows(op, x, y, rows, row_stride, columns, column_stride);
  Y part[kColumns];
  for (i64 begin = 0; begin < rows; begin += segment) {
    std::fill_n(part, columns, op.first);
    add_rows(op, x + begin * row_stride, part, std::min(segment, rows - begin), row_stride, columns, column_stride);
    for (i64 c = 0; c < columns; ++c) y[c] = op(y[c], part[c]);
  }
}

// Rows [begin, end) of one block.
template <class Op, class X, class Y>
void reduce_block(Op op, const X* x, Y* y, i64 begin, i64 end, const ReducePlan& p) {
  x += begin * p.count_stride;
  if (p.inner == 1) {
    *y = reduce_row<Op, X, Y>(op, x, end - begin, p.count_stride);
    return;
  }
  for (i64 c = 0; c < p.inner; c += kColumns)
    reduce_columns(op, x + c * p.inner_stride, y + c, end - begin, p.count_stride, std::min(kColumns, p.inner - c),
                   p.inner_stride);
}

// One large block, shared among threads by columns where there are many, else by chunks of rows.
template <class Op, class X, class Y> void reduce_large_block(Op op, const X* x, Y* y, const ReducePlan& p) {
  const i64 blocks = (p.inner + kColumns - 1) / kColumns;
  const Chunks chunks = reduction_chunks(p.count, kReduceGrain / p.inner + 1);
  if (blocks >= 16 || chunks.count == 1) {
    parallel_for(blocks, kReduceGrain / (p.count * std::min(p.inner, kColumns)) + 1, [&](i64 begin, i64 end) {
      ReducePlan part = p;
      part.inner = std::min(p.inner, end * kColumns) - begin * kColumns;
      reduce_block(op, x + begin * kColumns * p.inner_stride, y + begin * kColumns, 0, p.count, part);
    });
    return;
  }
  const auto partial = std::make_unique_for_overwrite<Y[]>(static_cast<std::size_t>(chunks.count * p.inner));
  parallel_for(chunks.count, 1, [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; ++c)
      reduce_block(op, x, partial.get() + c * p.inner, chunks.begin(c), chunks.end(c), p);
  });
  tree_combine(chunks.count, [&](i64 a, i64 b) {
    for (i64 i = 0; i < p.inner; ++i) partial[a * p.inner + i] = op(partial[a * p.inner + i], partial[b * p.inner + i]);
  });
  std::copy_n(partial.get(), p.inner, y);
}

// Many rows of a few elements.
template <class Op, class X, class Y> void reduce_short_rows(Op op, const X* x, Y* y, const ReducePlan& p) {
  const i64 count = p.count, stride = p.count_stride, step = p.outer.strides[0][p.outer.rank - 1];
  parallel_for(p.outer.elements(), kReduceGrain / count + 1, [&](i64 begin, i64 end) {
    Y* __restrict to = y + begin;
    walk(p.outer, begin, end, [&](const i64* offset, i64 n) {
      const X* from = x + *offset;
      for (i64 j = 0; j < n; ++j, from += step) {
        Y total = op.first;
        for (i64 i = 0; i < count; ++i) total = op(total, static_cast<Y>(from[i * stride]));
        *to++ = total;
      }
    });
  });
}

}  // namespace detail

/// Many blocks: a thread takes several whole ones. Few: all threads share each.
template <class Op, class X, class Y> void reduce_blocks(Op op, const X* x, Y* y, const ReducePlan& p) {
  const i64 outer = p.outer.elements(), block = p.count * p.inner;
  if (p.inner == 1 && p.count <= 2 * detail::kLanes) return detail::reduce_short_rows(op, x, y, p);
  const bool large = outer < 16 && block > detail::kReduceGrain;
  const i64 step = p.outer.strides[0][p.outer.rank - 1];
  parallel_for(outer, large ? outer : detail::kReduceGrain / block + 1, [&](i64 begin, i64 end) {
    i64 o = begin;
    walk(p.outer, begin, end, [&](const i64* offset, i64 n) {
      for (i64 j = 0; j < n; ++j, ++o) {
        const X* from = x + *offset + j * step;
        if (large)
          detail::reduce_large_block(op, from, y + o * p.inner, p);
        else
          detail::reduce_block(op, from, y + o * p.inner, 0, p.count, p);
      }
    });
  });
}

}  // namespace cpu

namespace cuda {
template <class Op, class X, class Y> void reduce_blocks(Op op, const X* x, Y* y, const ReducePlan& plan);
}

// ---- stages

namespace detail {

struct ReduceAxis {
  int axis = 0;
  i64 size = 0, stride = 0;
  bool reduced = false;
};
using ReduceAxes = InlineList<ReduceAxis>;

/// The axes of x longer than 1, outermost in memory first.
ReduceAxes axes_in_memory(const Tensor& x, const Axes& reduced);
/// Takes the innermost stage off `axes`, leaving the axes of its contiguous result.
ReducePlan next_stage(ReduceAxes& axes);
/// A contiguous result whose axes lie in the order of `axes`, as `shape` in logical order.
Tensor in_logical_order(const Tensor& y, const ReduceAxes& axes, const Shape& shape);

template <class X, class Y, class Op> Tensor reduce_stage(const Tensor& x, ReduceAxes& axes, Op op) {
  const ReducePlan plan = next_stage(axes);
  Tensor y = empty({plan.outer.elements() * plan.inner}, dtype_of<Y>, x.device());
  MOEGRAD_LAUNCH(x.device(), reduce_blocks, op, x.data<X>(), y.data<Y>(), plan);
  return y;
}

}  // namespace detail

/// Shape of x with size 1 along `axes`.
Shape kept_shape(const Shape& shape, const Axes& axes);
/// Shape of a reduction of x over `axes`.
Shape reduced_shape(const Shape& shape, const Axes& axes, bool keep);

/// op over `axes` of x, a tensor of X, as a new contiguous tensor of Y; op.first where there are no elements.
///   axes  ascending, as check_axes gives them
template <class X, class Y, class Op> Tensor reduce_axes(const Tensor& x_any, const Axes& axes, bool keep, Op op) {
  const Tensor x = dense(x_any);
  const Shape shape = reduced_shape(x.shape(), axes, keep);
  if (x.size() == 0) return full(shape, static_cast<double>(op.first), dtype_of<Y>, x.device());
  detail::ReduceAxes left = detail::axes_in_memory(x, axes);
  const auto unfinished = [&] {
    return std::any_of(left.begin(), left.end(), [](const detail::ReduceAxis& a) { return a.reduced; });
  };
  Tensor y = detail::reduce_stage<X, Y>(x, left, op);
  while (unfinished()) y = detail::reduce_stage<Y, Y>(y, left, op);
  return detail::in_logical_order(y, left, shape);
}

}  // namespace moegrad
