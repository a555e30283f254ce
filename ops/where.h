// Choices between values, element by element.
#pragma once
#include <type_traits>

#include "core/math.h"
#include "core/tensor.h"

namespace moegrad {

/// y = a where cond is true, else b.
///   Shapes    cond, a, b broadcast to y
///   Dtypes    cond bool; a, b any, both alike
///   Gradient  da = dy where cond, else 0; db = dy where not cond, else 0: exactly 0, whatever the other operand is, so
///             a NaN or an infinity that was not taken does no harm.  Any order.  None to cond
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: cond is not bool, a and b differ
Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b);

/// y = value where mask is true, else x.
///   Shapes    x, mask broadcast to y
///   Dtypes    x any, mask bool; value becomes x's dtype
///   Gradient  dx = dy where not mask, else 0; any order
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: mask is not bool; x holds integers and value is not
///             whole
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

namespace formula {
// cond ? a : b by bits: a compiler would read an operand only where it is taken, and such a loop does not vectorise.
template <class T> MOEGRAD_HD inline T select(bool cond, T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = typename math::Format<T>::Bits;
    const Bits mask = Bits(0) - static_cast<Bits>(cond);
    return math::from_bits<T>((math::bits(a) & mask) | (math::bits(b) & ~mask));
  } else if constexpr (std::is_same_v<T, bool>) {
    return (cond & a) | (!cond & b);
  } else {
    const T mask = -static_cast<T>(cond);
    return (a & mask) | (b & ~mask);
  }
}
struct Where {
  template <class T> MOEGRAD_HD T operator()(bool cond, T a, T b) const { return select(cond, a, b); }
};
template <class T> struct FillWhere {
  T value;
  MOEGRAD_HD T operator()(T x, bool mask) const { return select(mask, value, x); }
};
}  // namespace formula
}  // namespace moegrad
