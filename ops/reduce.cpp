#include "ops/reduce.h"

#include <fmt/format.h>

#include <limits>

#include "core/autograd.h"
#include "core/structure.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/concat.h"
#include "ops/reduce_loops.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {

// ---- sum

namespace {
// A reduction of bf16 has accumulated f32, which is rounded at the end.
Tensor rounded_as(const Tensor& x, const Tensor& y) { return x.dtype() == DType::bf16 ? narrow(y) : y; }
}  // namespace

Tensor sum(const Tensor& x, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("sum", x.shape(), axes_any);
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->sum(axes, keep)) return y;
  const Tensor y = with_any(x.dtype(), [&]<class X>() {
    using Y = std::conditional_t<kIsFloat<X>, Computed<X>, i64>;
    return rounded_as(x, reduce_axes<X, Y>(x, axes, keep, formula::SumOf<Y>{}));
  });
  if (!is_float(x.dtype())) return y;
  return record(
      "sum", y, {x}, saves(kNone),
      [kept = kept_shape(x.shape(), axes)](const GradArgs& g) -> Grads {
        return {expand(reshape(g.dy, kept), g.shape(0))};
      },
      [axes] { return fmt::format("axes = {}", to_string(axes)); });
}
Tensor sum(const Tensor& x, int axis, bool keep) { return sum(x, Axes{axis}, keep); }
Tensor sum(const Tensor& x) { return sum(x, all_axes(x.shape())); }

Tensor mean(const Tensor& x, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("mean", x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype("mean", kFloats, x.dtype());
  i64 n = 1;
  for (int a : axes) n *= x.shape()[a];
  if (n == 0)
    throw ShapeError(fmt::format("mean: there must be elements to average; got axes {} of x {}", to_string(axes),
                                 to_string(x.shape())));
  if (x.dtype() == DType::bf16) return narrow(mean(widen(x), axes, keep));
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

namespace {

template <template <class> class Op>
Tensor extremum(const char* name, const Tensor& x, const Axes& axes_any, bool keep, double sign) {
  const Axes axes = check_axes(name, x.shape(), axes_any);
  i64 count = 1;
  for (int a : axes) count *= x.shape()[a];
  if (count == 0)
    throw ShapeError(fmt::format("{}: there must be elements to compare; got axes {} of x {}", name, to_string(axes),
                                 to_string(x.shape())));
  const Tensor y = with_number(name, x.dtype(), [&]<class X>() {
    using Y = Computed<X>;
    using Limits = std::numeric_limits<Y>;
    const Y far = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const Op<Y> op{sign > 0 ? (Limits::has_infinity ? -far : Limits::lowest()) : far};
    return rounded_as(x, reduce_axes<X, Y>(x, axes, keep, op));
  });
  if (!is_float(x.dtype())) return y;
  return record(
      name, y, {x}, saves(kX0 | kY),
      [kept = kept_shape(x.shape(), axes), axes](const GradArgs& g) -> Grads {
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

// ---- product

namespace {

// The same product as a tree of multiplications: its gradient needs no division, so zeros do no harm.
Tensor product_tree(const Tensor& x, const Axes& axes, const Shape& shape) {
  Axes order;
  i64 n = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (!axes.contains(i)) order.push_back(i);
  for (int a : axes) {
    order.push_back(a);
    n *= x.shape()[a];
  }
  Shape rows = reduced_shape(x.shape(), axes, false);
  rows.push_back(n);
  Tensor y = reshape(permute(x, order), rows);
  for (; n > 1; n = n / 2 + n % 2) {
    const i64 half = n / 2;
    Tensor pairs = slice(y, -1, {0, half}) * slice(y, -1, {half, 2 * half});
    y = n % 2 == 0 ? pairs : concat({pairs, slice(y, -1, {n - 1, n})}, -1);
  }
  return reshape(n == 0 ? sum(y, -1) + 1.0 : y, shape);  // of no factors: 1, and still in the graph
}

}  // namespace

Tensor prod(const Tensor& x, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("prod", x.shape(), axes_any);
  const Tensor y = with_any(x.dtype(), [&]<class X>() {
    using Y = std::conditional_t<kIsFloat<X>, Computed<X>, i64>;
    return rounded_as(x, reduce_axes<X, Y>(x, axes, keep, formula::ProductOf<Y>{}));
  });
  if (!is_float(x.dtype())) return y;
  const auto tree = [axes, shape = y.shape()](const Tensor& t) {
    return rounded_as(t, product_tree(widen(t), axes, shape));
  };
  return fused(
      "prod", y, {x}, saves(kNone),
      [tree](const GradArgs& g) -> Grads {
        Recording on(true);
        const Tensor leaf = g.in(0).detach().requires_grad_();
        return {grad(tree(leaf), {leaf}, g.dy)[0]};
      },
      [tree](std::span<const Tensor> in) { return tree(in[0]); },
      [axes] { return fmt::format("axes = {}", to_string(axes)); });
}
Tensor prod(const Tensor& x, int axis, bool keep) { return prod(x, Axes{axis}, keep); }
Tensor prod(const Tensor& x) { return prod(x, all_axes(x.shape())); }

// ---- logic and counts

namespace {
template <class Op> Tensor logic(const char* name, const Tensor& x, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes(name, x.shape(), axes_any);
  return reduce_axes<bool, bool>(cast(x, DType::boolean), axes, keep, Op{});
}
}  // namespace

Tensor any(const Tensor& x, const Axes& axes, bool keep) { return logic<formula::AnyOf>("any", x, axes, keep); }
Tensor any(const Tensor& x, int axis, bool keep) { return any(x, Axes{axis}, keep); }
Tensor any(const Tensor& x) { return any(x, all_axes(x.shape())); }
Tensor all(const Tensor& x, const Axes& axes, bool keep) { return logic<formula::AllOf>("all", x, axes, keep); }
Tensor all(const Tensor& x, int axis, bool keep) { return all(x, Axes{axis}, keep); }
Tensor all(const Tensor& x) { return all(x, all_axes(x.shape())); }

Tensor count_nonzero(const Tensor& x, const Axes& axes, bool keep) {
  return sum(cast(x, DType::boolean), check_axes("count_nonzero", x.shape(), axes), keep);
}
Tensor count_nonzero(const Tensor& x, int axis, bool keep) { return count_nonzero(x, Axes{axis}, keep); }
Tensor count_nonzero(const Tensor& x) { return count_nonzero(x, all_axes(x.shape())); }

}  // namespace moegrad
