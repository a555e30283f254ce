#include "ops/moments.h"

#include <fmt/format.h>

#include <cmath>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/where.h"

namespace moegrad {
namespace {

i64 count_over(const Tensor& x, const Axes& axes) {
  i64 n = 1;
  for (int a : axes) n *= x.shape()[a];
  return n;
}

Tensor variance(const char* op, const Tensor& x, const Axes& axes_any, const VarOptions& options) {
  const Axes axes = check_axes(op, x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  const i64 n = count_over(x, axes);
  if (n <= options.correction || n == 0)
    throw ShapeError(
        fmt::format("{}: there must be more elements than the correction; got {} and correction = {} for "
                    "axes {} of x {}",
                    op, n, options.correction, to_string(axes), to_string(x.shape())));
  const Tensor centred = x - mean(x, axes, keep_dims);
  return sum(square(centred), axes, options.keep) * (1.0 / static_cast<double>(n - options.correction));
}

// sqrt with gradient 0, not infinity, at 0.
Tensor smooth_sqrt(const Tensor& x) {
  const Tensor zero = eq(x, scalar_like(0, x));
  return masked_fill(sqrt(masked_fill(x, zero, 1)), zero, 0);
}

}  // namespace

Tensor var(const Tensor& x, const Axes& axes, VarOptions options) {
  if (x.dtype() == DType::bf16) return narrow(var(widen(x), axes, options));
  return variance("var", x, axes, options);
}
Tensor var(const Tensor& x, int axis, VarOptions options) { return var(x, Axes{axis}, options); }
Tensor var(const Tensor& x, VarOptions options) { return var(x, all_axes(x.shape()), options); }

Tensor stddev(const Tensor& x, const Axes& axes, VarOptions options) {
  if (x.dtype() == DType::bf16) return narrow(stddev(widen(x), axes, options));
  return smooth_sqrt(variance("stddev", x, axes, options));
}
Tensor stddev(const Tensor& x, int axis, VarOptions options) { return stddev(x, Axes{axis}, options); }
Tensor stddev(const Tensor& x, VarOptions options) { return stddev(x, all_axes(x.shape()), options); }

Tensor norm(const Tensor& x, double p, const Axes& axes_any, bool keep) {
  const Axes axes = check_axes("norm", x.shape(), axes_any);
  if (!is_float(x.dtype())) throw_dtype("norm", kFloats, x.dtype());
  if (x.dtype() == DType::bf16) return narrow(norm(widen(x), p, axes, keep));
  if (p == 1) return sum(abs(x), axes, keep);
  if (p == 2) return smooth_sqrt(sum(square(x), axes, keep));
  if (!(p > 0 && std::isinf(p))) throw Error(fmt::format("norm: p must be 1, 2 or infinity; got {}", p));
  if (count_over(x, axes) == 0)
    throw ShapeError(fmt::format("norm: there must be elements to compare; got axes {} of x {}", to_string(axes),
                                 to_string(x.shape())));
  return amax(abs(x), axes, keep);
}
Tensor norm(const Tensor& x, double p, int axis, bool keep) { return norm(x, p, Axes{axis}, keep); }
Tensor norm(const Tensor& x, double p) { return norm(x, p, all_axes(x.shape())); }

}  // namespace moegrad
