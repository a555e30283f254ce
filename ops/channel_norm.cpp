#include "ops/channel_norm.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/moments.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {
namespace {

void check_channels(const char* op, const char* name, const Tensor& x, const Tensor& p) {
  if (!p) return;
  check_same_device(op, x, p);
  check_same_dtype(op, x, p);
  if (p.shape() != Shape{x.dim(1)})
    throw ShapeError(fmt::format("{}: {} must have one value per channel; got {} {} and x {}", op, name, name,
                                 to_string(p.shape()), to_string(x.shape())));
}

void check(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  if (x.rank() < 2) throw ShapeError(fmt::format("{}: x must be [N, C, ..]; got x {}", op, to_string(x.shape())));
  check_channels(op, "w", x, w);
  check_channels(op, "b", x, b);
  if (!(eps >= 0)) throw Error(fmt::format("{}: eps must be >= 0; got eps = {}", op, eps));
}

// How many values a channel has.
i64 check_values(const char* op, const Tensor& x) {
  i64 count = 1;
  for (int i = 0; i < x.rank(); ++i) count *= i == 1 ? 1 : x.shape()[i];
  if (count < 2)
    throw ShapeError(fmt::format("{}: a channel must have two values or more; got x {}", op, to_string(x.shape())));
  return count;
}

// All axes but that of the channels.
Axes all_but_channels(const Tensor& x) {
  Axes axes;
  for (int i = 0; i < x.rank(); ++i)
    if (i != 1) axes.push_back(i);
  return axes;
}

// [C] as [C, 1, ..], to stand beside x
Tensor beside(const Tensor& x, const Tensor& p) {
  Shape shape(x.rank() - 1, 1);
  shape[0] = p.dim(0);
  return reshape(p, shape);
}

Tensor scale_and_shift(const Tensor& x, const Tensor& w, const Tensor& b) {
  const Tensor y = w ? x * beside(x, w) : x;
  return b ? y + beside(x, b) : y;
}

}  // namespace

Tensor group_norm(const Tensor& x, i64 groups, const Tensor& w, const Tensor& b, double eps) {
  check("group_norm", x, w, b, eps);
  if (x.dtype() == DType::bf16) return narrow(group_norm(widen(x), groups, widen(w), widen(b), eps));
  const i64 channels = x.dim(1);
  if (groups < 1 || channels % groups != 0 || channels == 0)
    throw ShapeError(fmt::format("group_norm: groups must divide the channels; got groups = {} for x {}", groups,
                                 to_string(x.shape())));
  i64 inner = channels / groups;  // values of a group
  for (int i = 2; i < x.rank(); ++i) inner *= x.shape()[i];
  if (inner == 0) throw ShapeError(fmt::format("group_norm: groups must not be empty; got x {}", to_string(x.shape())));
  const Tensor z = layer_norm(reshape(x, {x.dim(0), groups, inner}), {}, {}, eps);
  return scale_and_shift(reshape(z, x.shape()), w, b);
}

Tensor batch_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  check("batch_norm", x, w, b, eps);
  check_values("batch_norm", x);
  if (x.dtype() == DType::bf16) return narrow(batch_norm(widen(x), widen(w), widen(b), eps));
  const Axes axes = all_but_channels(x);
  const Tensor centred = x - mean(x, axes, keep_dims);
  return scale_and_shift(centred * rsqrt(mean(square(centred), axes, keep_dims) + eps), w, b);
}

Tensor batch_norm(const Tensor& x, const ChannelStatistics& statistics, const Tensor& w, const Tensor& b, double eps) {
  check("batch_norm", x, w, b, eps);
  check_channels("batch_norm", "mean", x, statistics.mean);
  check_channels("batch_norm", "variance", x, statistics.variance);
  if (x.dtype() == DType::bf16)
    return narrow(batch_norm(widen(x), {widen(statistics.mean), widen(statistics.variance)}, widen(w), widen(b), eps));
  const Tensor scale = rsqrt(beside(x, statistics.variance) + eps);
  return scale_and_shift((x - beside(x, statistics.mean)) * scale, w, b);
}

ChannelStatistics update_statistics(const ChannelStatistics& old, const Tensor& x, double momentum) {
  check("update_statistics", x, {}, {}, 0);
  check_channels("update_statistics", "mean", x, old.mean);
  check_channels("update_statistics", "variance", x, old.variance);
  check_values("update_statistics", x);
  if (!(momentum >= 0 && momentum <= 1))
    throw Error(fmt::format("update_statistics: momentum must be in [0, 1]; got {}", momentum));
  const no_grad guard;
  if (x.dtype() == DType::bf16) {
    const ChannelStatistics s = update_statistics({widen(old.mean), widen(old.variance)}, widen(x), momentum);
    return {narrow(s.mean), narrow(s.variance)};
  }
  const Axes axes = all_but_channels(x);
  const VarMean now = var_mean(x, axes);
  return {old.mean * (1 - momentum) + now.mean * momentum, old.variance * (1 - momentum) + now.var * momentum};
}

}  // namespace moegrad
