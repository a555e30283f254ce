#include "ops/reduce.h"

#include <fmt/format.h>

#include <limits>
#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "core/structure.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// x as [outer, count, inner] with the reduced axes in the middle, and the shapes of the result.
struct Blocks {
  Tensor x;
  i64 outer = 1, count = 1, inner = 1;
  Shape kept;  // reduced axes have size 1
  Shape dropped;
};

Blocks blocks_of(const Tensor& x, const Axes& axes) {
  Blocks b;
  Axes front, back;  // kept axes before and behind the first reduced one, for a copy-free order where possible
  const bool adjacent = axes.empty() || axes.back() - axes[0] + 1 == axes.size();
  for (int i = 0; i < x.rank(); ++i) {
    const bool reduced = axes.contains(i);
    b.kept.push_back(reduced ? 1 : x.shape()[i]);
    if (!reduced) b.dropped.push_back(x.shape()[i]);
    if (reduced)
      b.count *= x.shape()[i];
    else if (adjacent && !axes.empty() && i > axes.back())
      back.push_back(i), b.inner *= x.shape()[i];
    else
      front.push_back(i), b.outer *= x.shape()[i];
  }
  for (int a : axes) front.push_back(a);
  for (int a : back) front.push_back(a);
  no_grad guard;
  b.x = contiguous(permute(x, front));
  return b;
}

template <class X, class Y, class Op> Tensor reduce(const Blocks& b, bool keep, Op op) {
  Tensor y = empty(keep ? b.kept : b.dropped, dtype_of<Y>, b.x.device());
  MOEGRAD_LAUNCH(b.x.device(), reduce_blocks, op, b.x.data<X>(), y.data<Y>(), b.outer, b.count, b.inner);
  return y;
}

}  // namespace

// ---- sum
// --------------------------------------------------------------------------------------------------------------------

Tensor sum(const Tensor& x, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("sum", x.shape(), axes_any);
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->sum(axes, keep)) return y;
  const Blocks b = blocks_of(x, axes);
  const Tensor y = with_any(x.dtype(), [&]<class X>() {
    using Y = std::conditional_t<std::is_floating_point_v<X>, X, i64>;
    return reduce<X, Y>(b, keep, formula::SumOf<Y>{});
  });
  if (!is_float(x.dtype())) return y;
  return record(
      "sum", y, {x}, saves(kNone),
      [kept = b.kept](const GradArgs& g) -> Grads { return {expand(reshape(g.dy, kept), g.shape(0))}; },
      [axes] { return fmt::format("axes = {}", to_string(axes)); });
}
Tensor sum(const Tensor& x, int axis, bool keep) { return sum(x, Axes{axis}, keep); }
Tensor sum(const Tensor& x) { return sum(x, all_axes(x.shape())); }

Tensor mean(const Tensor& x, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("mean", x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype("mean", "f32 or f64", x.dtype());
  i64 n = 1;
  for (int a : axes) n *= x.shape()[a];
  if (n == 0)
    throw ShapeError(fmt::format("mean: there must be elements to average; got axes {} of x {}", to_string(axes),
                                 to_string(x.shape())));
  return sum(x, axes, keep) * (1.0 / static_cast<double>(n));
}
Tensor mean(const Tensor& x, int axis, bool keep) { return mean(x, Axes{axis}, keep); }
Tensor mean(const Tensor& x) { return mean(x, all_axes(x.shape())); }

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int extra = x.rank() - shape.rank();
  Axes axes;
  bool fits = extra >= 0;
  for (int i = 0; fits && i < x.rank(); ++i) {
    const i64 to = i < extra ? 1 : shape[i - extra];
    fits = to == 1 || to == x.shape()[i];
    if (i < extra || to != x.shape()[i]) axes.push_back(i);
  }
  if (!fits)
    throw InternalError(fmt::format("sum_to: the shape must broadcast to that of x; got {} for x {}", to_string(shape),
                                    to_string(x.shape())));
  return reshape(sum(x, axes), shape);
}

// ---- extrema
// ----------------------------------------------------------------------------------------------------------------

namespace {

template <template <class> class Op>
Tensor extremum(const char* name, const Tensor& x, const Axes& axes_any, bool keep, double sign) {
  const Axes axes = check_axes(name, x.shape(), axes_any);
  const Blocks b = blocks_of(x, axes);
  if (b.count == 0)
    throw ShapeError(fmt::format("{}: there must be elements to compare; got axes {} of x {}", name, to_string(axes),
                                 to_string(x.shape())));
  const Tensor y = with_number(name, x.dtype(), [&]<class X>() {
    using Limits = std::numeric_limits<X>;
    const X far = Limits::has_infinity ? Limits::infinity() : Limits::max();
    return reduce<X, X>(b, keep, Op<X>{sign > 0 ? (Limits::has_infinity ? -far : Limits::lowest()) : far});
  });
  if (!is_float(x.dtype())) return y;
  return record(
      name, y, {x}, saves(kX0 | kY),
      [kept = b.kept, axes](const GradArgs& g) -> Grads {
        const Tensor x0 = g.in(0);
        const Tensor ties = cast(eq(x0, expand(reshape(g.y(), kept), x0.shape())), x0.dtype());
        return {ties * (reshape(g.dy, kept) / sum(ties, axes, keep_dims))};
      },
      [axes] { return fmt::format("axes = {}", to_string(axes)); });
}

}  // namespace

Tensor amax(const Tensor& x, const Axes& axes, bool keep) { return extremum<formula::MaxOf>("amax", x, axes, keep, 1); }
Tensor amax(const Tensor& x, int axis, bool keep) { return amax(x, Axes{axis}, keep); }
Tensor amax(const Tensor& x) { return amax(x, all_axes(x.shape())); }
Tensor amin(const Tensor& x, const Axes& axes, bool keep) {
  return extremum<formula::MinOf>("amin", x, axes, keep, -1);
}
Tensor amin(const Tensor& x, int axis, bool keep) { return amin(x, Axes{axis}, keep); }
Tensor amin(const Tensor& x) { return amin(x, all_axes(x.shape())); }

// ---- CPU kernel
// ---------------------------------------------------------------------------------------------------------------

namespace {

constexpr i64 kGrain = 1 << 15;  // elements per thread
constexpr int kLanes = 16;       // independent partial results, so that the loop vectorises without reordering

// op over n contiguous elements, always in the same order.
template <class Op, class X, class Y> Y reduce_row(Op op, const X* x, i64 n, Y first) {
  Y lane[kLanes];
  for (Y& l : lane) l = first;
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lane[l] = op(lane[l], static_cast<Y>(x[i + l]));
  for (int l = 0; i < n; ++i, ++l) lane[l] = op(lane[l], static_cast<Y>(x[i]));
  tree_combine(kLanes, [&](i64 a, i64 b) { lane[a] = op(lane[a], lane[b]); });
  return lane[0];
}

// y[i] = op over r of x[r, i]
template <class Op, class X, class Y> void reduce_rows(Op op, const X* x, Y* __restrict y, i64 count, i64 inner) {
  if (inner == 1) {
    *y = reduce_row(op, x, count, op.first);
    return;
  }
  for (i64 i = 0; i < inner; ++i) y[i] = op.first;
  for (i64 r = 0; r < count; ++r, x += inner)
    for (i64 i = 0; i < inner; ++i) y[i] = op(y[i], static_cast<Y>(x[i]));
}

}  // namespace

// Many blocks: one after another on each thread. Few: each is cut into chunks whose borders depend on sizes only, so
// that the result has the same bits for any number of threads.
template <class Op, class X, class Y>
void cpu::reduce_blocks(Op op, const X* x, Y* y, i64 outer, i64 count, i64 inner) {
  const i64 block = count * inner;
  const Chunks chunks = reduction_chunks(count, kGrain / std::max<i64>(inner, 1) + 1);
  if (outer >= 8 || chunks.count == 1) {
    parallel_for(outer, kGrain / std::max<i64>(block, 1) + 1, [&](i64 begin, i64 end) {
      for (i64 o = begin; o < end; ++o) reduce_rows(op, x + o * block, y + o * inner, count, inner);
    });
    return;
  }
  std::vector<Y> partial(static_cast<std::size_t>(chunks.count * inner));
  for (i64 o = 0; o < outer; ++o) {
    parallel_for(chunks.count, 1, [&](i64 begin, i64 end) {
      for (i64 c = begin; c < end; ++c)
        reduce_rows(op, x + o * block + chunks.begin(c) * inner, partial.data() + c * inner,
                    chunks.end(c) - chunks.begin(c), inner);
    });
    tree_combine(chunks.count, [&](i64 a, i64 b) {
      for (i64 i = 0; i < inner; ++i)
        partial[static_cast<std::size_t>(a * inner + i)] =
            op(partial[static_cast<std::size_t>(a * inner + i)], partial[static_cast<std::size_t>(b * inner + i)]);
    });
    std::copy_n(partial.begin(), inner, y + o * inner);
  }
}

}  // namespace moegrad
