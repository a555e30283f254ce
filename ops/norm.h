// Normalisation of each row: the last axis of a tensor.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = (x - mean(x)) / sqrt(var(x) + eps) * w + b over the last axis, with the variance that divides by n.
///   Shapes    x [.., n], w [n] or an empty handle (no scale), b [n] or an empty handle (no shift) -> y as x; n >= 1
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  with z = (x - mean) / sqrt(var + eps) and g = dy w:  dx = (g - mean(g) - z mean(g z)) / sqrt(var + eps);
///             dw = sum of dy z and db = sum of dy over rows, with the same bits for any number of threads; any order
///   Errors    ShapeError: x has no axis or an empty last one, w or b is not [n].  DTypeError: two dtypes, or not a
///             float.  Error: eps < 0
///   Source    Layer normalization (2016), arXiv:1607.06450, equation 4
Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps = 1e-5);

/// layer_norm over as many of the last axes as `sizes` has.
///   Shapes    x [.., sizes..], w and b `sizes` or an empty handle -> y as x.   All else as above
///   Errors    as above, and ShapeError: x does not end in `sizes`, or `sizes` names no axis
Tensor layer_norm(const Tensor& x, const Shape& sizes, const Tensor& w, const Tensor& b, double eps = 1e-5);

/// y = x / sqrt(mean(x^2) + eps) * w over the last axis.
///   Gradient  with z = x / sqrt(mean(x^2) + eps) and g = dy w:  dx = (g - z mean(g z)) / sqrt(mean(x^2) + eps);
///             dw = sum of dy z; any order.   All else as layer_norm
///   Source    Root mean square layer normalization (2019), arXiv:1910.07467, equation 4
Tensor rms_norm(const Tensor& x, const Tensor& w, double eps = 1e-6);

struct NormRows {
  i64 rows, n;
  double eps;
  bool centred;  // layer_norm; otherwise the mean counts as 0
};
/// dx [rows, n], dw [n], db [n]; a null pointer where that one is not wanted.
template <class F> struct NormGradients { F *dx, *dw, *db; };
// Kernels, called only by ops/norm.cpp. x, y, dy: [rows, n]; mean, rstd: [rows], rstd = 1 / sqrt(var + eps); w and b
// may be null: 1 and 0.
namespace cpu {
template <class F> void norm_rows(const F* x, const F* w, const F* b, F* y, F* mean, F* rstd, const NormRows& plan);
template <class F>
void norm_gradient(const F* x, const F* w, const F* mean, const F* rstd, const F* dy, const NormGradients<F>& to,
                   const NormRows& plan);
}  // namespace cpu
namespace cuda {
template <class F> void norm_rows(const F* x, const F* w, const F* b, F* y, F* mean, F* rstd, const NormRows& plan);
template <class F>
void norm_gradient(const F* x, const F* w, const F* mean, const F* rstd, const F* dy, const NormGradients<F>& to,
                   const NormRows& plan);
}  // namespace cuda

}  // namespace moegrad
