// Arithmetic of two tensors, with NumPy broadcasting.
#pragma once
#include <cmath>
#include <type_traits>

#include "core/autograd.h"
#include "core/tensor.h"

namespace moegrad {

/// y = a + b,  a - b,  a * b
///   Shapes    a, b broadcast to y
///   Dtypes    f32, f64, bf16, i32, i64; both alike, but a bool operand becomes the other's dtype. Integers wrap around
///   Gradient  da = dy, dy, dy b;  db = dy, -dy, dy a; any order. The engine sums them back to a broadcast operand
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: two dtypes, or bool and bool
/// mul by a structured one-hot stays structured where the other operand broadcasts to its shape (rule R3).
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);

/// y = a / b.  Dtypes f32, f64, bf16; division by 0 follows IEEE 754.
///   Gradient  da = dy / b;  db = -dy y / b; any order
Tensor div(const Tensor& a, const Tensor& b);

/// y = a^b for a >= 0, or an integer b.  Dtypes f32, f64, bf16.
///   Gradient  da = dy b a^(b-1), and 0 where b = 0;  db = dy y log(a), and 0 where a = 0 and b >= 0
Tensor pow(const Tensor& a, const Tensor& b);

/// The larger / smaller of a and b; NaN if one is NaN.  Dtypes f32, f64, bf16, i32, i64.
///   Gradient  to the operand that was taken; a tie gives half to each, a NaN nothing to either
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);

/// A scalar with the dtype and device of x: what a C++ number beside a tensor becomes.
///   Errors    DTypeError: x is bool; or x holds integers and the number is not whole, or outside their range
Tensor scalar_like(double value, const Tensor& x);
/// Throws DTypeError: x holds integers, and the number beside it is not whole or outside their range.
void check_whole(const char* op, double value, const Tensor& x);
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return add(a, scalar_like(b, a)); }
inline Tensor operator-(const Tensor& a, double b) { return sub(a, scalar_like(b, a)); }
inline Tensor operator*(const Tensor& a, double b) { return mul(a, scalar_like(b, a)); }
inline Tensor operator/(const Tensor& a, double b) { return div(a, scalar_like(b, a)); }
inline Tensor operator+(double a, const Tensor& b) { return add(scalar_like(a, b), b); }
inline Tensor operator-(double a, const Tensor& b) { return sub(scalar_like(a, b), b); }
inline Tensor operator*(double a, const Tensor& b) { return mul(scalar_like(a, b), b); }
inline Tensor operator/(double a, const Tensor& b) { return div(scalar_like(a, b), b); }

namespace formula {

// Signed overflow is undefined in C++, so integers are computed as unsigned ones.
template <class T, class Fn> MOEGRAD_HD inline T wrapping(T a, T b, Fn fn) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(fn(static_cast<U>(a), static_cast<U>(b)));
  } else {
    return fn(a, b);
  }
}
struct Plus {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return a + b; }
};
struct Minus {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return a - b; }
};
struct Times {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return a * b; }
};
struct Add {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return wrapping(a, b, Plus{}); }
};
struct Sub {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return wrapping(a, b, Minus{}); }
};
struct Mul {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return wrapping(a, b, Times{}); }
};
struct Div {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return a / b; }
};
struct Pow {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const { return std::pow(a, b); }
};
struct Maximum {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const {
    const T larger = a > b ? a : b;  // one instruction, which gives b if one is NaN
    return a != a ? a : larger;
  }
};
struct Minimum {
  template <class T> MOEGRAD_HD T operator()(T a, T b) const {
    const T smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};

}  // namespace formula
}  // namespace moegrad
