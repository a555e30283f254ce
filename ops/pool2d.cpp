#include "ops/pool2d.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/gather.h"
#include "ops/pad.h"
#include "ops/reduce.h"
#include "ops/sort.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {
namespace {

struct Pooling {
  Size2 kernel, padding;
  WindowOptions windows;  // stride and dilation; the padding is added beforehand
  Size2 beyond;           // further positions behind the padding, for ceil
};

// What a last window that begins inside, but does not end there, needs behind the padding.
i64 beyond(i64 n, i64 kernel, i64 stride, i64 padding, i64 dilation) {
  const i64 extent = dilation * (kernel - 1) + 1, spare = n + 2 * padding - extent;
  if (spare < 0) return 0;
  i64 last = (spare + stride - 1) / stride;  // number of the last window
  if (last * stride >= n + padding) --last;
  return std::max<i64>(0, last * stride - spare);
}

Pooling plan(const char* op, const Tensor& x, Size2 kernel, Size2 stride, Size2 padding, Size2 dilation, bool ceil) {
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  if (x.rank() < 2) throw ShapeError(fmt::format("{}: x must be [.., H, W]; got x {}", op, to_string(x.shape())));
  const Shape image{1, x.dim(-2), x.dim(-1)};
  plan_windows(op, image, kernel, {.stride = stride, .padding = padding, .dilation = dilation});
  if (padding.rows > kernel.rows / 2 || padding.columns > kernel.columns / 2)
    throw Error(fmt::format("{}: padding must be at most half the kernel; got padding {} x {} and kernel {} x {}", op,
                            padding.rows, padding.columns, kernel.rows, kernel.columns));
  Pooling p{kernel, padding, {.stride = stride, .dilation = dilation}, 0};
  if (ceil)
    p.beyond = {beyond(x.dim(-2), kernel.rows, stride.rows, padding.rows, dilation.rows),
                beyond(x.dim(-1), kernel.columns, stride.columns, padding.columns, dilation.columns)};
  return p;
}

bool is_zero(Size2 n) { return n.rows == 0 && n.columns == 0; }

// [.., H, W] -> [planes, k l, windows], with `inside` as the padding and `outside` beyond it
Tensor windows(const Tensor& x, const Pooling& p, double inside, double outside) {
  i64 planes = 1;
  for (int i = 0; i < x.rank() - 2; ++i) planes *= x.shape()[i];
  Tensor image = reshape(x, {planes, 1, x.dim(-2), x.dim(-1)});
  if (!is_zero(p.padding))
    image = pad(image, {{p.padding.rows, p.padding.rows}, {p.padding.columns, p.padding.columns}}, inside);
  if (!is_zero(p.beyond)) image = pad(image, {{0, p.beyond.rows}, {0, p.beyond.columns}}, outside);
  return unfold(image, p.kernel, p.windows);
}

// [planes, 1, windows] -> [.., p, q]
Tensor as_image(const Tensor& y, const Tensor& x, const Pooling& p) {
  const Shape padded{1, x.dim(-2) + 2 * p.padding.rows + p.beyond.rows,
                     x.dim(-1) + 2 * p.padding.columns + p.beyond.columns};
  const WindowPlan out = plan_windows("pool", padded, p.kernel, p.windows);
  Shape shape = x.shape();
  shape[x.rank() - 2] = out.down;
  shape.back() = out.across;
  return reshape(y, shape);
}

// How many elements each window has, [1, windows].
Tensor counts(const Tensor& x, const Pooling& p, bool count_padding) {
  const Tensor image = ones({x.dim(-2), x.dim(-1)}, x.dtype(), x.device());
  return sum(windows(image, p, count_padding ? 1 : 0, 0), 1);
}

}  // namespace

Tensor max_pool2d(const Tensor& x, Size2 kernel, const MaxPoolOptions& o) {
  const Pooling p = plan("max_pool2d", x, kernel, o.stride.value_or(kernel), o.padding, o.dilation, o.ceil);
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  const Tensor elements = windows(x, p, lowest, lowest);
  return as_image(take_along(elements, 1, argmax(elements, 1, keep_dims)), x, p);
}

Tensor avg_pool2d(const Tensor& x, Size2 kernel, const AvgPoolOptions& o) {
  const Pooling p = plan("avg_pool2d", x, kernel, o.stride.value_or(kernel), o.padding, 1, o.ceil);
  if (o.divisor == 0) throw Error("avg_pool2d: divisor must not be 0; got divisor = 0");
  if (x.dtype() == DType::bf16) return narrow(avg_pool2d(widen(x), kernel, o));
  const Tensor total = sum(windows(x, p, 0, 0), 1);
  const bool full = is_zero(p.beyond) && (o.count_padding || is_zero(p.padding));  // every window counts alike
  if (o.divisor || full)
    return as_image(total * (1 / static_cast<double>(o.divisor.value_or(kernel.rows * kernel.columns))), x, p);
  const Tensor n = counts(x, p, o.count_padding);
  return as_image(total * reciprocal(n + eq(n, scalar_like(0, n))), x, p);  // 0 where a window lies in the padding
}

}  // namespace moegrad
