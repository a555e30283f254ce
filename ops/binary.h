// Further functions of two or three tensors, with NumPy broadcasting.
#pragma once
#include <cmath>

#include "core/math.h"
#include "core/tensor.h"

namespace moegrad {

/// The angle of the point (x, y) in (-pi, pi], as the C function atan2.
///   Shapes    y, x broadcast to the result
///   Dtypes    f32, f64, both alike; so for every function below
///   Gradient  dy = d x / (x^2 + y^2), dx = -d y / (x^2 + y^2), both 0 at the origin; any order
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: two dtypes, or not a float
Tensor atan2(const Tensor& y, const Tensor& x);

/// y = log(e^a + e^b) without overflow; -infinity adds nothing.
///   Shapes    a, b broadcast to y
///   Gradient  da = dy / (1 + e^(b - a)), db = dy / (1 + e^(a - b)); half to each where both are the same infinity; any
///             order.   Errors as atan2
Tensor logaddexp(const Tensor& a, const Tensor& b);

/// y = (1 - w) a + w b: a for w = 0 and b for w = 1, both exactly. w may lie outside [0, 1].
///   Shapes    a, b, w broadcast to y
///   Gradient  da = (1 - w) dy, db = w dy, dw = (b - a) dy; any order.   Errors as atan2
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& w);
Tensor lerp(const Tensor& a, const Tensor& b, double w);

/// y = x + value a b.
///   Shapes    x, a, b broadcast to y
///   Gradient  dx = dy, da = value dy b, db = value dy a; any order.   Errors as atan2
Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1);

namespace formula {
struct Atan2 {
  template <class F> MOEGRAD_HD F operator()(F y, F x) const { return std::atan2(y, x); }
};
struct LogAddExp {
  template <class F> MOEGRAD_HD F operator()(F a, F b) const {
    const F top = a > b ? a : b, distance = a == b ? F(0) : math::abs(a - b);  // infinity - infinity is NaN
    return a != a ? a : top + math::softplus(-distance);
  }
};
}  // namespace formula
}  // namespace moegrad
