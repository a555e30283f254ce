#include "ops/unfold.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/cast.h"

namespace moegrad {
namespace {

void check_size(const char* op, const char* name, Size2 s, i64 least) {
  constexpr i64 kEndOfSizes = i64{1} << 31;
  if (std::min(s.rows, s.columns) < least || std::max(s.rows, s.columns) >= kEndOfSizes)
    throw Error(fmt::format("{}: {} must be in [{}, 2^31); got {} x {}", op, name, least, s.rows, s.columns));
}

// The axes before C, H and W, which x keeps, with what follows them.
Shape with_tail(const Shape& x, int dropped, std::initializer_list<i64> tail) {
  Shape shape(x.begin(), x.end() - dropped);
  for (const i64 n : tail) shape.push_back(n);
  return shape;
}

std::string show(const WindowPlan& p) {
  const auto text = [](Size2 s) { return fmt::format("{} x {}", s.rows, s.columns); };
  return fmt::format("kernel = {}, stride = {}, padding = {}, dilation = {}", text(p.kernel), text(p.options.stride),
                     text(p.options.padding), text(p.options.dilation));
}

}  // namespace

WindowPlan plan_windows(const char* op, const Shape& x, Size2 kernel, const WindowOptions& o) {
  check_size(op, "kernel", kernel, 1);
  check_size(op, "stride", o.stride, 1);
  check_size(op, "padding", o.padding, 0);
  check_size(op, "dilation", o.dilation, 1);
  if (x.rank() < 3) throw ShapeError(fmt::format("{}: x must be [.., C, H, W]; got x {}", op, to_string(x)));
  const i64 height = x[x.rank() - 2], width = x.back();
  const i64 spare_rows = height + 2 * o.padding.rows - o.dilation.rows * (kernel.rows - 1) - 1;
  const i64 spare_columns = width + 2 * o.padding.columns - o.dilation.columns * (kernel.columns - 1) - 1;
  WindowPlan plan{
      .planes = 1, .height = height, .width = width, .down = 0, .across = 0, .kernel = kernel, .options = o};
  if (std::min(spare_rows, spare_columns) < 0)
    throw ShapeError(
        fmt::format("{}: a window must fit into the padded image; got {} for x {}", op, show(plan), to_string(x)));
  for (int i = 0; i < x.rank() - 2; ++i) plan.planes *= x[i];
  plan.down = spare_rows / o.stride.rows + 1;
  plan.across = spare_columns / o.stride.columns + 1;
  check_sizes(op, {plan.planes, kernel.rows, kernel.columns, plan.down, plan.across});
  return plan;
}

Tensor unfold(const Tensor& x_any, Size2 kernel, const WindowOptions& options) {
  const WindowPlan plan = plan_windows("unfold", x_any.shape(), kernel, options);
  if (!is_float(x_any.dtype())) throw_dtype("unfold", kFloats, x_any.dtype());
  const Tensor x = contiguous(x_any);
  const i64 window = kernel.rows * kernel.columns, count = plan.down * plan.across;
  const Tensor y = empty(with_tail(x.shape(), 3, {x.dim(-3) * window, count}), x.dtype(), x.device());
  with_float("unfold", x.dtype(),
             [&]<class F>() { MOEGRAD_LAUNCH(x.device(), unfold_windows, x.data<F>(), y.data<F>(), plan); });
  return record(
      "unfold", y, {x}, saves(kNone),
      [plan](const GradArgs& g) -> Grads {
        return {fold(g.dy, {plan.height, plan.width}, plan.kernel, plan.options)};
      },
      [plan] { return show(plan); });
}

namespace {
// On a CPU bf16 has been widened before.
template <class F> void launch_fold(Device device, const F* columns, F* image, const WindowPlan& plan) {
  if constexpr (!std::is_same_v<F, bf16>)
    MOEGRAD_LAUNCH(device, fold_windows, columns, image, plan);
  else if constexpr (kWithCuda)
    cuda::fold_windows(columns, image, plan);
}
}  // namespace

Tensor fold(const Tensor& x_any, Size2 size, Size2 kernel, const WindowOptions& options) {
  check_size("fold", "size", size, 0);
  check_size("fold", "kernel", kernel, 1);
  const i64 window = kernel.rows * kernel.columns, rows = x_any.rank() >= 2 ? x_any.dim(-2) : 0;
  const Shape image =
      x_any.rank() >= 2 ? with_tail(x_any.shape(), 2, {rows / window, size.rows, size.columns}) : Shape{};
  const auto refuse = [&](const std::string& columns) {
    throw ShapeError(fmt::format("fold: x must be [.., C * {}, {}] for an image of {} x {}; got x {}", window, columns,
                                 size.rows, size.columns, to_string(x_any.shape())));
  };
  if (x_any.rank() < 2 || rows % window != 0) refuse("windows");
  if (!is_float(x_any.dtype())) throw_dtype("fold", kFloats, x_any.dtype());
  if (x_any.dtype() == DType::bf16 && x_any.device() == Device::cpu)
    return narrow(fold(widen(x_any), size, kernel, options));
  const WindowPlan plan = plan_windows("fold", image, kernel, options);
  if (x_any.dim(-1) != plan.down * plan.across) refuse(fmt::format("{}", plan.down * plan.across));
  const Tensor x = contiguous(x_any), y = empty(image, x.dtype(), x.device());
  with_float("fold", x.dtype(), [&]<class F>() { launch_fold(x.device(), x.data<F>(), y.data<F>(), plan); });
  return record(
      "fold", y, {x}, saves(kNone),
      [plan](const GradArgs& g) -> Grads { return {unfold(g.dy, plan.kernel, plan.options)}; },
      [plan] { return show(plan); });
}

// ---- CPU kernels

namespace {

constexpr i64 kGrain = 1 << 14;  // elements per thread: about 10 us

// The windows whose element `at` (counted with the padding) lies in [0, n): a range, because they are `stride` apart.
struct Inside {
  i64 begin, end;
  Inside(i64 at, i64 n, i64 stride, i64 windows) {
    const i64 first = at < 0 ? (-at + stride - 1) / stride : 0, past = n > at ? (n - at + stride - 1) / stride : 0;
    begin = std::min(first, windows);
    end = std::clamp(past, begin, windows);
  }
};

// Visits what lies inside the image of element (i, j) of all windows: visit(first element of the image, window, count)
// for runs of windows of one row, whose elements are `stride.columns` apart.
template <class Visit> void for_each_run(const WindowPlan& p, i64 i, i64 j, Visit&& visit) {
  const WindowOptions& o = p.options;
  const i64 top = i * o.dilation.rows - o.padding.rows, left = j * o.dilation.columns - o.padding.columns;
  const Inside rows(top, p.height, o.stride.rows, p.down), columns(left, p.width, o.stride.columns, p.across);
  for (i64 a = rows.begin; a < rows.end; ++a)
    visit((top + a * o.stride.rows) * p.width + left + columns.begin * o.stride.columns, a * p.across + columns.begin,
          columns.end - columns.begin);
}

}  // namespace

template <class F> void cpu::unfold_windows(const F* image, F* columns, const WindowPlan& p) {
  const i64 window = p.kernel.rows * p.kernel.columns, count = p.down * p.across, step = p.options.stride.columns;
  parallel_for(p.planes * window, kGrain / count + 1, [&](i64 begin, i64 end) {
    for (i64 r = begin; r < end; ++r) {  // one element of all windows of a plane
      const F* from = image + r / window * (p.height * p.width);
      F* to = columns + r * count;
      std::fill_n(to, count, F(0));
      for_each_run(p, r % window / p.kernel.columns, r % p.kernel.columns, [&](i64 at, i64 first, i64 n) {
        for (i64 b = 0; b < n; ++b) to[first + b] = from[at + b * step];
      });
    }
  });
}

template <class F> void cpu::fold_windows(const F* columns, F* image, const WindowPlan& p) {
  const i64 window = p.kernel.rows * p.kernel.columns, count = p.down * p.across, step = p.options.stride.columns;
  const i64 plane = p.height * p.width;
  parallel_for(p.planes, kGrain / (window * count + plane) + 1, [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; ++c) {
      F* to = image + c * plane;
      std::fill_n(to, plane, F(0));
      for (i64 e = 0; e < window; ++e) {
        const F* from = columns + (c * window + e) * count;
        for_each_run(p, e / p.kernel.columns, e % p.kernel.columns, [&](i64 at, i64 first, i64 n) {
          for (i64 b = 0; b < n; ++b) to[at + b * step] += from[first + b];
        });
      }
    }
  });
}

}  // namespace moegrad
