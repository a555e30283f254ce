// Comparisons and logic: bool results without a gradient.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = a == b, a != b, a < b, a <= b, a > b, a >= b, element by element.
///   Shapes    a, b broadcast to y
///   Dtypes    any, both alike -> bool.  Comparisons with NaN are false, except ne
///   Gradient  none
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: two dtypes
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);
Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b);
Tensor gt(const Tensor& a, const Tensor& b);
Tensor ge(const Tensor& a, const Tensor& b);

/// Logic on bool tensors, with broadcasting.  Gradient: none.  DTypeError: an operand is not bool.
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_xor(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& x);

/// Which elements are NaN / are neither NaN nor infinite.  Dtypes f32, f64, bf16.  Gradient: none.
Tensor isnan(const Tensor& x);
Tensor isfinite(const Tensor& x);

namespace formula {
struct Eq {
  template <class T> MOEGRAD_HD bool operator()(T a, T b) const { return a == b; }
};
struct Ne {
  template <class T> MOEGRAD_HD bool operator()(T a, T b) const { return a != b; }
};
struct Lt {
  template <class T> MOEGRAD_HD bool operator()(T a, T b) const { return a < b; }
};
struct Le {
  template <class T> MOEGRAD_HD bool operator()(T a, T b) const { return a <= b; }
};
struct And {
  template <class T> MOEGRAD_HD bool operator()(T a, T b) const { return a && b; }
};
struct Or {
  template <class T> MOEGRAD_HD bool operator()(T a, T b) const { return a || b; }
};
struct Not {
  MOEGRAD_HD bool operator()(bool a) const { return !a; }
};
struct IsNan {
  template <class T> MOEGRAD_HD bool operator()(T a) const { return a != a; }
};
struct IsFinite {
  template <class T> MOEGRAD_HD bool operator()(T a) const { return a - a == T(0); }
};
}  // namespace formula
}  // namespace moegrad
