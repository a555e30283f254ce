#include "ops/scan.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

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

// A tensor as [outer, count, inner] around an axis.
struct Blocks {
  i64 outer = 1, count, inner = 1;
};
Blocks blocks_of(const Shape& shape, int axis) {
  Blocks b{.count = shape[axis]};
  for (int i = 0; i < axis; ++i) b.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) b.inner *= shape[i];
  return b;
}

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
  Tensor y = empty(shape, a.dtype(), a.device());
  with_number("linear_scan", a.dtype(), [&]<class T>() {
    no_grad guard;
    const Tensor p = contiguous(expand(a, shape)), q = contiguous(expand(b, shape));
    const Blocks o = blocks_of(shape, axis);
    if (y.size() > 0)
      MOEGRAD_LAUNCH(y.device(), linear_scan_blocks, p.data<T>(), q.data<T>(), y.data<T>(), o.outer, o.count, o.inner,
                     reverse);
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
  const Tensor y = with_float("logcumsumexp", x.dtype(), [&]<class F>() {
    no_grad guard;
    const Tensor from = contiguous(x);
    Tensor to = empty(x.shape(), x.dtype(), x.device());
    const Blocks o = blocks_of(x.shape(), axis);
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

// ---- CPU kernels: a task is one column of one block

namespace {

template <class Task> void each_column(i64 outer, i64 count, i64 inner, Task task) {
  parallel_for(outer * inner, (1 << 13) / count + 1, [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; ++t) task(t / inner * count * inner + t % inner);
  });
}

}  // namespace

template <class T>
void cpu::linear_scan_blocks(const T* a, const T* b, T* y, i64 outer, i64 count, i64 inner, bool reverse) {
  using Total = std::conditional_t<std::is_integral_v<T>, u64, double>;
  const i64 first = reverse ? (count - 1) * inner : 0, step = reverse ? -inner : inner;
  each_column(outer, count, inner, [&](i64 at) {
    at += first;
    Total total = convert<Total>(b[at]);
    y[at] = b[at];
    for (i64 i = 1; i < count; ++i) {
      at += step;
      total = convert<Total>(a[at]) * total + convert<Total>(b[at]);
      y[at] = convert<T>(total);
    }
  });
}

template <class F> void cpu::logcumsumexp_blocks(const F* x, F* y, i64 outer, i64 count, i64 inner) {
  each_column(outer, count, inner, [&](i64 at) {
    double top = -std::numeric_limits<double>::infinity(), total = 0;  // of e^(x - top)
    for (i64 i = 0; i < count; ++i, at += inner) {
      const double v = convert<double>(x[at]);
      if (v > top) {
        total = total * std::exp(top - v) + 1;
        top = v;
      } else if (!std::isinf(v)) {
        total += std::exp(v - top);  // NaN stays
      } else if (v == top && v > 0) {
        total += 1;
      }
      y[at] = convert<F>(total == 0 ? top : top + std::log(total));
    }
  });
}

}  // namespace moegrad
