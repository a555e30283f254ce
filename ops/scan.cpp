#include "ops/scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/concat.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "ops/where.h"

namespace moegrad {
namespace {

// All but the first or the last position of an axis.
Tensor without(const Tensor& x, int axis, bool first) {
  const i64 n = x.shape()[axis];
  return n == 0 ? x : slice(x, axis, first ? Range{1, n} : Range{0, n - 1});
}

}  // namespace

// ---- linear recurrence

Tensor linear_scan(const Tensor& a, const Tensor& b, int axis_any, bool reverse) {
  check_same_device("linear_scan", a, b);
  check_same_dtype("linear_scan", a, b);
  const Shape shape = broadcast("linear_scan", a.shape(), b.shape());
  const int axis = check_axis("linear_scan", shape, axis_any);
  const Tensor y = with_number("linear_scan", a.dtype(), [&]<class T>() {
    no_grad guard;
    const Tensor p = contiguous(expand(a, shape)), q = contiguous(expand(b, shape));
    Tensor to = empty(shape, a.dtype(), a.device());
    const AxisBlocks o = blocks_around(shape, axis);
    if (to.size() > 0)
      MOEGRAD_LAUNCH(to.device(), linear_scan_blocks, p.data<T>(), q.data<T>(), to.data<T>(), o.outer, o.count, o.inner,
                     reverse);
    return to;
  });
  return record(
      "linear_scan", y, {a, b}, saves(kX0 | kY),
      [axis, reverse](const GradArgs& g) -> Grads {
        // forwards: y_i = a_i y_{i-1} + b_i  =>  db_i = dy_i + a_{i+1} db_{i+1},  da_i = db_i y_{i-1}
        const Tensor factors = expand(g.in(0), g.dy.shape());
        const Tensor db = linear_scan(roll(factors, reverse ? 1 : -1, axis), g.dy, axis, !reverse);
        if (!g.needs(0)) return {Tensor{}, db};
        const Tensor da = without(db, axis, !reverse) * without(g.y(), axis, reverse);
        return {place(da, axis, g.dy.shape()[axis], reverse ? 0 : 1), db};
      },
      [axis, reverse] { return fmt::format("axis = {}, reverse = {}", axis, reverse); });
}

Tensor cumprod(const Tensor& x_any, int axis_any) {
  const int axis = check_axis("cumprod", x_any.shape(), axis_any);
  const Tensor x = is_float(x_any.dtype()) ? x_any : cast(x_any, DType::i64);
  const Tensor first = slice(x, axis, {0, 1});
  return linear_scan(x, place(first, axis, x.shape()[axis], 0), axis);
}

// ---- log of running sums of exponentials

Tensor logcumsumexp(const Tensor& x, int axis_any) {
  const int axis = check_axis("logcumsumexp", x.shape(), axis_any);
  if (!is_float(x.dtype())) throw_dtype("logcumsumexp", kFloats, x.dtype());
  // The gradient reads differences of values: of values rounded to bf16 they would be wrong by a rounding of large ones.
  if (x.dtype() == DType::bf16) return narrow(logcumsumexp(widen(x), axis));
  const Tensor y = with_wide("logcumsumexp", x.dtype(), [&]<class F>() {
    no_grad guard;
    const Tensor from = contiguous(x);
    Tensor to = empty(x.shape(), x.dtype(), x.device());
    const AxisBlocks o = blocks_around(x.shape(), axis);
    if (x.size() > 0)
      MOEGRAD_LAUNCH(x.device(), logcumsumexp_blocks, from.data<F>(), to.data<F>(), o.outer, o.count, o.inner);
    return to;
  });
  return record(
      "logcumsumexp", y, {x}, saves(kX0 | kY),
      [axis](const GradArgs& g) -> Grads {
        // dx_k = e^(x_k - y_k) r_k  with  r_k = sum over i >= k of dy_i e^(y_k - y_i) = dy_k + e^(y_k - y_{k+1})
        // r_{k+1}
        constexpr double kNever = -std::numeric_limits<double>::infinity();
        const Tensor x0 = g.in(0), y0 = g.y(), nothing = eq(y0, scalar_like(kNever, y0));
        const auto ratio = [](const Tensor& top, const Tensor& bottom, const Tensor& none) {
          return exp(masked_fill(top - bottom, none, kNever));
        };
        const Tensor decay = ratio(without(y0, axis, false), without(y0, axis, true), without(nothing, axis, false));
        const Tensor r = linear_scan(place(decay, axis, y0.shape()[axis], 0), g.dy, axis, true);
        return {ratio(x0, y0, nothing) * r};
      },
      [axis] { return fmt::format("axis = {}", axis); });
}

// ---- CPU kernels: a task is a strip of columns of one block, read row by row

namespace {

constexpr i64 kColumns = 256;  // their running values stay in the L1 cache

// Calls task(begin, columns) for strips of every block: as wide as leaves several for threads, but no narrower than a
// cache line.
template <class Task> void each_strip(i64 outer, i64 count, i64 inner, Task task) {
  constexpr i64 kStrips = 16, kNarrowest = 16, kGrain = 1 << 13;
  const i64 width = std::min(inner, std::clamp(outer * inner / kStrips, kNarrowest, kColumns));
  const i64 strips = (inner + width - 1) / width;
  parallel_for(outer * strips, kGrain / (count * width) + 1, [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; ++t) {
      const i64 column = t % strips * width;
      task(t / strips * count * inner + column, std::min(width, inner - column));
    }
  });
}

// Rows are `step` elements apart, of either sign. Columns is i64, or a constant: one column needs no loop.
template <class T, class Columns> void scan_strip(const T* a, const T* b, T* y, i64 rows, i64 step, Columns columns) {
  using Total = std::conditional_t<std::is_integral_v<T>, u64, double>;
  Total total[kColumns];
  const auto row = [columns, &total](const T* __restrict p, const T* __restrict q, T* __restrict to) {
    for (i64 c = 0; c < columns; ++c) {
      total[c] = convert<Total>(p[c]) * total[c] + convert<Total>(q[c]);
      to[c] = convert<T>(total[c]);
    }
  };
  for (i64 c = 0; c < columns; ++c) total[c] = convert<Total>(y[c] = b[c]);
  for (i64 r = 1; r < rows; ++r) row(a += step, b += step, y += step);
}

// log(e^x + ..) so far: top + log(total), where total is of e^(x - top).
struct LogSum {
  double top, total;
  void add(double v) {
    if (v > top) {
      total = total * std::exp(top - v) + 1;
      top = v;
    } else if (!std::isinf(v)) {
      total += std::exp(v - top);  // NaN stays
    } else if (v == top && v > 0) {
      total += 1;
    }
  }
  double value() const { return total == 0 ? top : top + std::log(total); }
};

}  // namespace

template <class T>
void cpu::linear_scan_blocks(const T* a, const T* b, T* y, i64 outer, i64 count, i64 inner, bool reverse) {
  const i64 first = reverse ? (count - 1) * inner : 0, step = reverse ? -inner : inner;
  each_strip(outer, count, inner, [&](i64 begin, i64 columns) {
    const i64 at = begin + first;
    if (columns == 1)
      scan_strip(a + at, b + at, y + at, count, step, std::integral_constant<i64, 1>{});
    else
      scan_strip(a + at, b + at, y + at, count, step, columns);
  });
}

template <class F> void cpu::logcumsumexp_blocks(const F* x, F* y, i64 outer, i64 count, i64 inner) {
  each_strip(outer, count, inner, [&](i64 at, i64 columns) {
    LogSum sums[kColumns];
    std::fill_n(sums, columns, LogSum{-std::numeric_limits<double>::infinity(), 0});
    for (i64 r = 0; r < count; ++r, at += inner)
      for (i64 c = 0; c < columns; ++c) {
        sums[c].add(convert<double>(x[at + c]));
        y[at + c] = convert<F>(sums[c].value());
      }
  });
}

}  // namespace moegrad
