#include "ops/moments.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "ops/where.h"

namespace moegrad {
namespace {

i64 count_over(const Tensor& x, const Axes& axes) {
  i64 n = 1;
  for (int a : axes) n *= x.shape()[a];
  return n;
}

// With the mean over the same axes, which are kept.
VarMean variance(const char* op, const Tensor& x, const Axes& axes_any, const VarOptions& options) {
  const Axes axes = check_axes(op, x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  const i64 n = count_over(x, axes);
  if (n <= options.correction || n == 0)
    throw ShapeError(
        fmt::format("{}: there must be more elements than the correction; got {} and correction = {} for "
                    "axes {} of x {}",
                    op, n, options.correction, to_string(axes), to_string(x.shape())));
  const Tensor centre = mean(x, axes, keep_dims);
  return {sum(square(x - centre), axes, options.keep) * (1.0 / static_cast<double>(n - options.correction)), centre};
}

// sqrt with gradient 0, not infinity, at 0.
Tensor smooth_sqrt(const Tensor& x) {
  const Tensor zero = eq(x, scalar_like(0, x));
  return masked_fill(sqrt(masked_fill(x, zero, 1)), zero, 0);
}

}  // namespace

Tensor var(const Tensor& x, const Axes& axes, VarOptions options) {
  if (x.dtype() == DType::bf16) return narrow(var(widen(x), axes, options));
  return variance("var", x, axes, options).var;
}
Tensor var(const Tensor& x, int axis, VarOptions options) { return var(x, Axes{axis}, options); }
Tensor var(const Tensor& x, VarOptions options) { return var(x, all_axes(x.shape()), options); }

Tensor stddev(const Tensor& x, const Axes& axes, VarOptions options) {
  if (x.dtype() == DType::bf16) return narrow(stddev(widen(x), axes, options));
  return smooth_sqrt(variance("stddev", x, axes, options).var);
}
Tensor stddev(const Tensor& x, int axis, VarOptions options) { return stddev(x, Axes{axis}, options); }
Tensor stddev(const Tensor& x, VarOptions options) { return stddev(x, all_axes(x.shape()), options); }

VarMean var_mean(const Tensor& x, const Axes& axes, VarOptions options) {
  if (x.dtype() == DType::bf16) {
    const VarMean v = var_mean(widen(x), axes, options);
    return {narrow(v.var), narrow(v.mean)};
  }
  const VarMean v = variance("var_mean", x, axes, options);
  return {v.var, reshape(v.mean, v.var.shape())};
}
VarMean var_mean(const Tensor& x, int axis, VarOptions options) { return var_mean(x, Axes{axis}, options); }
VarMean var_mean(const Tensor& x, VarOptions options) { return var_mean(x, all_axes(x.shape()), options); }

namespace {

// (sum |x|^p)^(1/p), with the gradient 0 where a power has none: at 0.
Tensor power_norm(const Tensor& x, double p, const Axes& axes, bool keep) {
  const Tensor zero = eq(x, scalar_like(0, x));
  const double at_zero = p > 0 ? 0 : std::numeric_limits<double>::infinity();
  const Tensor total = sum(masked_fill(pow(masked_fill(abs(x), zero, 1), p), zero, at_zero), axes, keep);
  const Tensor flat = eq(total, scalar_like(at_zero, total));  // then the norm is 0
  return masked_fill(pow(masked_fill(total, flat, 1), 1 / p), flat, 0);
}

}  // namespace

Tensor norm(const Tensor& x, double p, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("norm", x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype("norm", kFloats, x.dtype());
  if (x.dtype() == DType::bf16) return narrow(norm(widen(x), p, axes, keep));
  if (std::isnan(p)) throw Error(fmt::format("norm: p must be a number; got {}", p));
  if ((p < 0 || std::isinf(p)) && count_over(x, axes) == 0)
    throw ShapeError(fmt::format("norm: there must be elements to compare; got axes {} of x {}", to_string(axes),
                                 to_string(x.shape())));
  if (std::isinf(p)) return p > 0 ? amax(abs(x), axes, keep) : amin(abs(x), axes, keep);
  if (p == 0) return cast(count_nonzero(x, axes, keep), x.dtype());
  if (p == 1) return sum(abs(x), axes, keep);
  if (p == 2) return smooth_sqrt(sum(square(x), axes, keep));
  return power_norm(x, p, axes, keep);
}
Tensor norm(const Tensor& x, double p, int axis, bool keep) { return norm(x, p, Axes{axis}, keep); }
Tensor norm(const Tensor& x, double p) { return norm(x, p, all_axes(x.shape())); }

}  // namespace moegrad
