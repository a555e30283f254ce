// Further functions of two or three tensors, with NumPy broadcasting.
#pragma once
#include <cmath>
#include <type_traits>

#include "core/math.h"
#include "core/tensor.h"
#include "ops/arithmetic.h"

namespace moegrad {

/// The angle of the point (x, y) in (-pi, pi], as the C function atan2.
///   Shapes    y, x broadcast to the result
///   Dtypes    f32, f64, bf16, both alike; so for every function below but floor_divide and remainder
///   Gradient  dy = d x / (x^2 + y^2), dx = -d y / (x^2 + y^2), both 0 at the origin; the squares neither over- nor
///             underflow; any order
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: two dtypes, or not a float
Tensor atan2(const Tensor& y, const Tensor& x);

/// y = a / b rounded down, as in Python: floor_divide(-7, 2) = -4.
///   Shapes    a, b broadcast to y
///   Dtypes    f32, f64, bf16, i32, i64, both alike; the lowest integer by -1 wraps around
///   Gradient  none: it is 0 wherever it exists
///   Errors    as atan2, and Error: an integer is divided by 0 (a float follows IEEE 754)
Tensor floor_divide(const Tensor& a, const Tensor& b);
/// y = a - b floor(a / b), as in Python: in [0, b) for b > 0, in (b, 0] for b < 0.
///   Gradient  da = dy, db = -dy floor(a / b); any order.   All else as floor_divide
Tensor remainder(const Tensor& a, const Tensor& b);

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
struct Remainder {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == T(0) || b == T(-1)) return T(0);
      return static_cast<T>(a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : T(0)));
    } else {
      const T r = std::fmod(a, b);  // exact, with the sign of a
      return r != T(0) && (r < T(0)) != (b < T(0)) ? r + b : r;
    }
  }
};
struct FloorDivide {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == T(0) || b == T(-1)) return b == T(0) ? T(0) : Sub{}(T(0), a);  // the processor would trap
      return static_cast<T>(a / b - (a % b != 0 && (a < 0) != (b < 0)));
    } else {
      if (b == T(0)) return a / b;
      const T r = std::fmod(a, b), q = (a - r) / b;  // whole, but for its rounding
      return static_cast<T>(std::nearbyint(r != T(0) && (r < T(0)) != (b < T(0)) ? q - 1 : q));
    }
  }
};
struct LogAddExp {
  template <class F> MOEGRAD_HD F operator()(F a, F b) const {
    const F top = a > b ? a : b, distance = a == b ? F(0) : math::abs(a - b);  // infinity - infinity is NaN
    return a != a ? a : top + math::softplus(-distance);
  }
};
}  // namespace formula
}  // namespace moegrad
