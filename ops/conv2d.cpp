#include "ops/conv2d.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/views.h"

namespace moegrad {
namespace {

void check(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, i64 groups) {
  for (const Tensor* p : {&w, &b}) {
    if (!*p) continue;
    check_same_device(op, x, *p);
    check_same_dtype(op, x, *p);
  }
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  if (x.rank() < 3 || w.rank() != 4)
    throw ShapeError(fmt::format("{}: x must be [.., C, H, W] and w [O, C / groups, k, l]; got x {} and w {}", op,
                                 to_string(x.shape()), to_string(w.shape())));
  const i64 channels = x.dim(-3), out = w.dim(0);
  const bool fits = groups >= 1 && channels % groups == 0 && out % groups == 0 && w.dim(1) == channels / groups;
  if (!fits)
    throw ShapeError(
        fmt::format("{}: w must be [O, C / groups, k, l], and groups divide C and O; got x {}, w {} and "
                    "groups = {}",
                    op, to_string(x.shape()), to_string(w.shape()), groups));
  if (b && b.shape() != Shape{out})
    throw ShapeError(fmt::format("{}: b must have one value per channel of y; got b {} and w {}", op,
                                 to_string(b.shape()), to_string(w.shape())));
}

Tensor convolve(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions& o) {
  check(op, x, w, b, o.groups);
  const Size2 kernel{w.dim(2), w.dim(3)};
  const WindowOptions how{.stride = o.stride, .padding = o.padding, .dilation = o.dilation};
  const WindowPlan plan = plan_windows(op, x.shape(), kernel, how);
  const i64 out = w.dim(0), depth = w.dim(1) * w.dim(2) * w.dim(3);
  Shape columns(x.shape().begin(), x.shape().end() - 3), shape = columns;
  if (o.groups > 1) columns.push_back(o.groups);
  columns.push_back(depth), columns.push_back(plan.down * plan.across);
  shape.push_back(out), shape.push_back(plan.down), shape.push_back(plan.across);
  const Tensor rows = o.groups > 1 ? reshape(w, {o.groups, out / o.groups, depth}) : reshape(w, {out, depth});
  const Tensor y = reshape(matmul(rows, reshape(unfold(x, kernel, how), columns)), shape);
  return b ? y + reshape(b, {out, 1, 1}) : y;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions& options) {
  return convolve("conv2d", x, w, b, options);
}

Tensor patch_embed(const Tensor& x, const Tensor& w, const Tensor& b) {
  if (x.rank() != 4 || w.rank() != 4)
    throw ShapeError(fmt::format("patch_embed: x must be [N, C, H, W] and w [D, C, k, l]; got x {} and w {}",
                                 to_string(x.shape()), to_string(w.shape())));
  const Tensor y = convolve("patch_embed", x, w, b, {.stride = {w.dim(2), w.dim(3)}});
  return transpose(flatten(y, 2, 3));  // [N, D, S] -> [N, S, D]
}

}  // namespace moegrad
