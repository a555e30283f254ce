// Vectors divided by their length.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = x / max(norm(x, p), eps) along `axis`.
///   Shapes    x [.., n, ..] -> y, same shape
///   Dtypes    f32, f64, bf16
///   Gradient  dx = (dy - y s) / norm with s = sum(dy y) for p = 2, and dy / eps where the norm is below eps; any order
///   Errors    ShapeError: axis out of range.  DTypeError: not a float.  Error: eps is not > 0; p as in norm
Tensor normalize(const Tensor& x, double p = 2, int axis = 1, double eps = 1e-12);

/// y = x / max(|x|, eps) * sqrt(n) * w over the last axis: rms_norm with a lower bound of the length in place of an eps
/// under the root.
///   Shapes    x [.., n], w [n] or an empty handle (no scale) -> y as x
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  to x as normalize, dw = sum of dy y / w; any order
///   Errors    ShapeError: x has no axis, w is not [n].  DTypeError: two dtypes, or not a float.  Error: eps is not > 0
///   Source    Root mean square layer normalization (2019), arXiv:1910.07467, equation 4
Tensor rms_norm_l2(const Tensor& x, const Tensor& w, double eps = 1e-12);

/// y = sum(a b) / (max(|a|, eps) max(|b|, eps)) along `axis`: the cosine of the angle between two vectors.
///   Shapes    a, b broadcast to [.., n, ..] -> y without `axis`
///   Dtypes    f32, f64, bf16, both alike
///   Gradient  to a and b through normalize; any order
///   Errors    ShapeError: shapes do not broadcast, axis out of range.  DTypeError: two dtypes, or not a float.
///             Error: eps is not > 0
Tensor cosine_similarity(const Tensor& a, const Tensor& b, int axis = 1, double eps = 1e-8);

}  // namespace moegrad
