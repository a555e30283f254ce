#include "ops/softmax.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/autograd.h"
#include "core/math.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// ---- shape rule

Axes checked_axes(const char* op, const Tensor& x, const Axes& axes_any) {
  const Axes axes = check_axes(op, x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  i64 n = 1;
  for (int a : axes) n *= x.shape()[a];
  if (n == 0)
    throw ShapeError(fmt::format("{}: there must be elements to normalise over; got axes {} of x {}", op,
                                 to_string(axes), to_string(x.shape())));
  return axes;
}

bool adjacent(const Axes& axes) { return axes.empty() || axes.back() - axes[0] + 1 == axes.size(); }

// The order that brings `axes` to the end, and the way back.
struct Reordering {
  Axes there, back;
};
Reordering axes_to_end(const Tensor& x, const Axes& axes) {
  Reordering order;
  for (int i = 0; i < x.rank(); ++i)
    if (!axes.contains(i)) order.there.push_back(i);
  for (int a : axes) order.there.push_back(a);
  for (int i = 0; i < x.rank(); ++i) order.back.push_back(order.there.find(i));
  return order;
}
Axes last_axes(const Tensor& x, int count) {
  Axes axes;
  for (int i = x.rank() - count; i < x.rank(); ++i) axes.push_back(i);
  return axes;
}

// Of adjacent axes; none at all are groups of one.
SoftmaxBlocks blocks_of(const Shape& shape, const Axes& axes) {
  SoftmaxBlocks b{1, 1, 1};
  for (int i = 0; i < shape.rank(); ++i)
    (axes.contains(i) ? b.n : !axes.empty() && i > axes.back() ? b.inner : b.outer) *= shape[i];
  return b;
}

std::string show(const Axes& axes) { return fmt::format("axes = {}", to_string(axes)); }

}  // namespace

// ---- forward and gradient

Tensor softmax(const Tensor& x_any, const Axes& axes_any) {
  const Axes axes = checked_axes("softmax", x_any, axes_any);
  if (x_any.dtype() == DType::bf16) return narrow(softmax(widen(x_any), axes));
  if (!adjacent(axes)) {
    const Reordering order = axes_to_end(x_any, axes);
    return permute(softmax(permute(x_any, order.there), last_axes(x_any, axes.size())), order.back);
  }
  const Tensor x = contiguous(x_any);
  const SoftmaxBlocks blocks = blocks_of(x.shape(), axes);
  const Tensor y = empty_like(x);
  with_wide("softmax", x.dtype(),
            [&]<class F>() { MOEGRAD_LAUNCH(x.device(), softmax_blocks, x.data<F>(), y.data<F>(), blocks); });
  return record(
      "softmax", y, {x}, saves(kY),
      [axes, blocks](const GradArgs& g) -> Grads {
        // y_i = e^{x_i} / sum_j e^{x_j};  d y_i / d x_j = y_i (1[i = j] - y_j)
        const Tensor p = g.y();
        if (recording()) return {p * (g.dy - sum(p * g.dy, axes, keep_dims))};
        const Tensor dy = contiguous(g.dy), dx = empty_like(p);
        with_wide("softmax", p.dtype(), [&]<class F>() {
          MOEGRAD_LAUNCH(p.device(), softmax_gradient, p.data<F>(), dy.data<F>(), dx.data<F>(), blocks);
        });
        return {dx};
      },
      [axes] { return show(axes); });
}
Tensor softmax(const Tensor& x, int axis) { return softmax(x, Axes{axis}); }

Tensor log_softmax(const Tensor& x_any, const Axes& axes_any) {
  const Axes axes = checked_axes("log_softmax", x_any, axes_any);
  if (x_any.dtype() == DType::bf16) return narrow(log_softmax(widen(x_any), axes));
  if (!adjacent(axes)) {
    const Reordering order = axes_to_end(x_any, axes);
    return permute(log_softmax(permute(x_any, order.there), last_axes(x_any, axes.size())), order.back);
  }
  const Tensor x = contiguous(x_any);
  const SoftmaxBlocks blocks = blocks_of(x.shape(), axes);
  const Tensor y = empty_like(x);
  with_wide("log_softmax", x.dtype(),
            [&]<class F>() { MOEGRAD_LAUNCH(x.device(), log_softmax_blocks, x.data<F>(), y.data<F>(), blocks); });
  return record(
      "log_softmax", y, {x}, saves(kY),
      [axes, blocks](const GradArgs& g) -> Grads {
        // y_i = x_i - log sum_j e^{x_j};  d y_i / d x_j = 1[i = j] - e^{y_j}
        const Tensor log_p = g.y();
        if (recording()) return {g.dy - exp(log_p) * sum(g.dy, axes, keep_dims)};
        const Tensor dy = contiguous(g.dy), dx = empty_like(log_p);
        with_wide("log_softmax", log_p.dtype(), [&]<class F>() {
          MOEGRAD_LAUNCH(log_p.device(), log_softmax_gradient, log_p.data<F>(), dy.data<F>(), dx.data<F>(), blocks);
        });
        return {dx};
      },
      [axes] { return show(axes); });
}
Tensor log_softmax(const Tensor& x, int axis) { return log_softmax(x, Axes{axis}); }

Tensor logsumexp(const Tensor& x_any, const Axes& axes_any, bool keep) {
  const Axes axes = checked_axes("logsumexp", x_any, axes_any);
  if (x_any.dtype() == DType::bf16) return narrow(logsumexp(widen(x_any), axes, keep));
  if (!adjacent(axes)) {
    const Reordering order = axes_to_end(x_any, axes);
    const Tensor y = logsumexp(permute(x_any, order.there), last_axes(x_any, axes.size()));
    if (!keep) return y;
    Shape kept = x_any.shape();
    for (int a : axes) kept[a] = 1;
    return reshape(y, kept);
  }
  const Tensor x = contiguous(x_any);
  const SoftmaxBlocks blocks = blocks_of(x.shape(), axes);
  Shape kept = x.shape(), dropped;
  for (int i = 0; i < x.rank(); ++i)
    if (axes.contains(i))
      kept[i] = 1;
    else
      dropped.push_back(x.shape()[i]);
  const Tensor y = empty(keep ? kept : dropped, x.dtype(), x.device());
  with_wide("logsumexp", x.dtype(),
            [&]<class F>() { MOEGRAD_LAUNCH(x.device(), logsumexp_blocks, x.data<F>(), y.data<F>(), blocks); });
  return record(
      "logsumexp", y, {x}, saves(kX0 | kY),
      [kept](const GradArgs& g) -> Grads {
        return {reshape(g.dy, kept) * exp(g.in(0) - reshape(g.y(), kept))};  // e^{x - y} = softmax(x)
      },
      [axes] { return show(axes); });
}
Tensor logsumexp(const Tensor& x, int axis, bool keep) { return logsumexp(x, Axes{axis}, keep); }

// ---- CPU kernels
// A long row is one group, handled by itself. Strips are up to kStrip groups side by side, so that loops vectorise
// across groups: the columns of inner > 1, and short rows (a router's eight experts), which are transposed on the
// stack.

namespace {

constexpr i64 kStrip = 64;    // groups of a strip
constexpr i64 kShort = 24;    // rows up to this length become columns of a strip
constexpr i64 kGrain = 4096;  // elements per thread: about 5 us

template <class F> constexpr F kLowest = -std::numeric_limits<F>::infinity();

// The largest value, not counting NaN: that shows up in the sum of exponentials.
template <class F> F largest(const F* x, i64 n) {
  F top = kLowest<F>;
#pragma omp simd reduction(max : top)
  for (i64 i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}
template <class F> F sum_of_exponentials(const F* x, i64 n, F shift) {
  F sum = 0;
#pragma omp simd reduction(+ : sum)
  for (i64 i = 0; i < n; ++i) sum += math::exp(x[i] - shift);
  return sum;
}
// The same for the columns of a strip.
template <class F> void largest(const F* x, i64 n, i64 stride, i64 width, F* __restrict top) {
  std::fill_n(top, width, kLowest<F>);
  for (i64 j = 0; j < n; ++j, x += stride)
#pragma omp simd
    for (i64 i = 0; i < width; ++i) top[i] = x[i] > top[i] ? x[i] : top[i];
}
template <class F>
void sum_of_exponentials(const F* x, i64 n, i64 stride, i64 width, const F* __restrict shift, F* __restrict sum) {
  std::fill_n(sum, width, F(0));
  for (i64 j = 0; j < n; ++j, x += stride)
#pragma omp simd
    for (i64 i = 0; i < width; ++i) sum[i] += math::exp(x[i] - shift[i]);
}
// logsumexp shifts by 0 where the largest is infinite: -inf - -inf = NaN would hide the result.
template <class F> F finite_or_zero(F top) { return top - top == 0 ? top : 0; }

// What a kernel reads: one tensor, or two of the same shape.
template <class F> struct Sources {
  const F *a, *b;
  Sources at(i64 offset) const { return {a + offset, b ? b + offset : nullptr}; }
};

template <class F> void transpose_tile(const F* x, i64 rows, i64 columns, i64 x_stride, F* y, i64 y_stride) {
  for (i64 r = 0; r < rows; ++r)
    for (i64 c = 0; c < columns; ++c) y[c * y_stride + r] = x[r * x_stride + c];
}

template <class F, class Strip>
void short_rows(Sources<F> in, F* out, i64 out_n, const SoftmaxBlocks& b, const Strip& strip) {
  const i64 strips = (b.outer + kStrip - 1) / kStrip;
  parallel_for(strips, kGrain / (b.n * kStrip) + 1, [&](i64 begin, i64 end) {
    F first[kShort * kStrip], second[kShort * kStrip], result[kShort * kStrip];
    for (i64 s = begin; s < end; ++s) {
      const i64 row = s * kStrip, rows = std::min(kStrip, b.outer - row);
      transpose_tile(in.a + row * b.n, rows, b.n, b.n, first, kStrip);
      if (in.b) transpose_tile(in.b + row * b.n, rows, b.n, b.n, second, kStrip);
      strip(Sources<F>{first, second}, result, kStrip, rows);
      transpose_tile(result, out_n, rows, kStrip, out + row * out_n, out_n);
    }
  });
}

// Runs row(in, out) for every row, or strip(in, out, stride, width) for every strip, on all threads. A group of the
// result has out_n values: b.n or 1.
template <class F, class Row, class Strip>
void for_groups(Sources<F> in, F* out, i64 out_n, const SoftmaxBlocks& b, const Row& row, const Strip& strip) {
  if (b.inner == 1 && b.n <= kShort) return short_rows(in, out, out_n, b, strip);
  if (b.inner == 1) {
    parallel_for(b.outer, kGrain / b.n + 1, [&](i64 begin, i64 end) {
      for (i64 r = begin; r < end; ++r) row(in.at(r * b.n), out + r * out_n);
    });
    return;
  }
  const i64 strips = (b.inner + kStrip - 1) / kStrip;
  parallel_for(b.outer * strips, kGrain / (b.n * std::clamp<i64>(b.inner, 1, kStrip)) + 1, [&](i64 begin, i64 end) {
    for (i64 s = begin; s < end; ++s) {
      const i64 o = s / strips, column = s % strips * kStrip;
      strip(in.at(o * b.n * b.inner + column), out + o * out_n * b.inner + column, b.inner,
            std::min(kStrip, b.inner - column));
    }
  });
}

}  // namespace

template <class F> void cpu::softmax_blocks(const F* x, F* y, const SoftmaxBlocks& b) {
  const auto row = [n = b.n](Sources<F> in, F* out) {
    const F top = largest(in.a, n);
    F sum = 0;
#pragma omp simd reduction(+ : sum)
    for (i64 i = 0; i < n; ++i) sum += out[i] = math::exp(in.a[i] - top);
    const F scale = 1 / sum;
    for (i64 i = 0; i < n; ++i) out[i] *= scale;
  };
  const auto strip = [n = b.n](Sources<F> in, F* out, i64 stride, i64 width) {
    F top[kStrip], sum[kStrip] = {};
    largest(in.a, n, stride, width, top);
    for (i64 j = 0; j < n; ++j) {
      const F* from = in.a + j * stride;
      F* to = out + j * stride;
#pragma omp simd
      for (i64 i = 0; i < width; ++i) sum[i] += to[i] = math::exp(from[i] - top[i]);
    }
    for (i64 i = 0; i < width; ++i) sum[i] = 1 / sum[i];
    for (i64 j = 0; j < n; ++j)
      for (i64 i = 0; i < width; ++i) out[j * stride + i] *= sum[i];
  };
  for_groups<F>({x, nullptr}, y, b.n, b, row, strip);
}

template <class F> void cpu::log_softmax_blocks(const F* x, F* y, const SoftmaxBlocks& b) {
  const auto row = [n = b.n](Sources<F> in, F* out) {
    const F top = largest(in.a, n), log_sum = math::log(sum_of_exponentials(in.a, n, top));
    for (i64 i = 0; i < n; ++i) out[i] = (in.a[i] - top) - log_sum;
  };
  const auto strip = [n = b.n](Sources<F> in, F* out, i64 stride, i64 width) {
    F top[kStrip] = {}, sum[kStrip];  // = {} only because GCC 12 cannot see that `largest` sets it
    largest(in.a, n, stride, width, top);
    sum_of_exponentials(in.a, n, stride, width, top, sum);
    for (i64 i = 0; i < width; ++i) sum[i] = math::log(sum[i]);
    for (i64 j = 0; j < n; ++j)
      for (i64 i = 0; i < width; ++i) out[j * stride + i] = (in.a[j * stride + i] - top[i]) - sum[i];
  };
  for_groups<F>({x, nullptr}, y, b.n, b, row, strip);
}

template <class F> void cpu::logsumexp_blocks(const F* x, F* y, const SoftmaxBlocks& b) {
  const auto row = [n = b.n](Sources<F> in, F* out) {
    const F shift = finite_or_zero(largest(in.a, n));
    *out = shift + math::log(sum_of_exponentials(in.a, n, shift));
  };
  const auto strip = [n = b.n](Sources<F> in, F* out, i64 stride, i64 width) {
    F shift[kStrip] = {}, sum[kStrip];  // = {} only because GCC 12 cannot see that `largest` sets it
    largest(in.a, n, stride, width, shift);
    for (i64 i = 0; i < width; ++i) shift[i] = finite_or_zero(shift[i]);
    sum_of_exponentials(in.a, n, stride, width, shift, sum);
    for (i64 i = 0; i < width; ++i) out[i] = shift[i] + math::log(sum[i]);
  };
  for_groups<F>({x, nullptr}, y, 1, b, row, strip);
}

namespace {

// dx = result(y, dy, s) with s the sum of term(y, dy) over the group.
template <class F, class Term, class Result>
void gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& b, Term term, Result result) {
  const auto row = [&](Sources<F> in, F* out) {
    F sum = 0;
#pragma omp simd reduction(+ : sum)
    for (i64 i = 0; i < b.n; ++i) sum += term(in.a[i], in.b[i]);
#pragma omp simd
    for (i64 i = 0; i < b.n; ++i) out[i] = result(in.a[i], in.b[i], sum);
  };
  const auto strip = [&](Sources<F> in, F* out, i64 stride, i64 width) {
    F sum[kStrip] = {};
    for (i64 j = 0; j < b.n; ++j)
#pragma omp simd
      for (i64 i = 0; i < width; ++i) sum[i] += term(in.a[j * stride + i], in.b[j * stride + i]);
    for (i64 j = 0; j < b.n; ++j)
#pragma omp simd
      for (i64 i = 0; i < width; ++i) out[j * stride + i] = result(in.a[j * stride + i], in.b[j * stride + i], sum[i]);
  };
  for_groups<F>({y, dy}, dx, b.n, b, row, strip);
}

}  // namespace

template <class F> void cpu::softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& b) {
  gradient(
      y, dy, dx, b, [](F p, F d) { return p * d; }, [](F p, F d, F sum) { return p * (d - sum); });
}
template <class F> void cpu::log_softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& b) {
  gradient(
      y, dy, dx, b, [](F, F d) { return d; }, [](F log_p, F d, F sum) { return d - math::exp(log_p) * sum; });
}

}  // namespace moegrad
