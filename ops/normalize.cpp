#include "ops/normalize.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/moments.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {
namespace {

void check_eps(const char* op, double eps) {
  if (!(eps > 0)) throw Error(fmt::format("{}: eps must be > 0; got eps = {}", op, eps));
}

// max(|x|, eps), with an axis of size 1
Tensor length(const Tensor& x, double p, int axis, double eps) {
  return clamp(norm(x, p, axis, keep_dims), eps, std::numeric_limits<double>::infinity());
}

}  // namespace

Tensor normalize(const Tensor& x, double p, int axis_any, double eps) {
  const int axis = check_axis("normalize", x.shape(), axis_any);
  if (!is_float(x.dtype())) throw_dtype("normalize", kFloats, x.dtype());
  check_eps("normalize", eps);
  if (x.dtype() == DType::bf16) return narrow(normalize(widen(x), p, axis, eps));
  return x / length(x, p, axis, eps);
}

Tensor rms_norm_l2(const Tensor& x, const Tensor& w, double eps) {
  if (!is_float(x.dtype())) throw_dtype("rms_norm_l2", kFloats, x.dtype());
  if (x.rank() == 0)
    throw ShapeError(fmt::format("rms_norm_l2: x must have a last axis; got x {}", to_string(x.shape())));
  check_eps("rms_norm_l2", eps);
  if (w) {
    check_same_device("rms_norm_l2", x, w);
    check_same_dtype("rms_norm_l2", x, w);
    if (w.shape() != Shape{x.dim(-1)})
      throw ShapeError(fmt::format("rms_norm_l2: w must have the size of the last axis of x; got w {} and x {}",
                                   to_string(w.shape()), to_string(x.shape())));
  }
  if (x.dtype() == DType::bf16) return narrow(rms_norm_l2(widen(x), widen(w), eps));
  const Tensor y = x * (std::sqrt(static_cast<double>(x.dim(-1))) / length(x, 2, -1, eps));
  return w ? y * w : y;
}

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int axis_any, double eps) {
  check_same_device("cosine_similarity", a, b);
  check_same_dtype("cosine_similarity", a, b);
  if (!is_float(a.dtype())) throw_dtype("cosine_similarity", kFloats, a.dtype());
  const Shape shape = broadcast("cosine_similarity", a.shape(), b.shape());
  const int axis = check_axis("cosine_similarity", shape, axis_any);
  check_eps("cosine_similarity", eps);
  if (a.dtype() == DType::bf16) return narrow(cosine_similarity(widen(a), widen(b), axis, eps));
  // Broadcast along other axes, a vector is normalised once.
  const auto unit = [&](const Tensor& x) {
    const int own = axis - (shape.rank() - x.rank());
    const bool whole = own >= 0 && x.shape()[own] == shape[axis];
    return normalize(whole ? x : expand(x, shape), 2, whole ? own : axis, eps);
  };
  return sum(unit(a) * unit(b), axis);
}

}  // namespace moegrad
