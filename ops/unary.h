// Functions of one number, element by element.
#pragma once
#include "core/math.h"
#include "core/tensor.h"
#include "ops/arithmetic.h"

namespace moegrad {

/// y = -x, |x|, x^2.  Dtypes f32, f64, bf16, i32, i64 (integers wrap around).
///   Gradient  -dy;  dy sign(x), 0 at 0;  2 x dy; any order
Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor square(const Tensor& x);
/// y = -1, 0 or 1; NaN stays NaN.  Dtypes f32, f64, bf16, i32, i64.  Gradient: none (it is 0 everywhere).
Tensor sign(const Tensor& x);
inline Tensor operator-(const Tensor& x) { return neg(x); }

/// y = e^x, e^x - 1, ln x, ln(1 + x), sqrt x, 1 / sqrt x, 1 / x.  Dtypes f32, f64, bf16; accuracy as in core/math.h.
///   Gradient  dy y;  dy (y + 1);  dy / x;  dy / (1 + x);  dy / 2y;  -dy y^3 / 2;  -dy y^2; any order
Tensor exp(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor reciprocal(const Tensor& x);

/// y = sin x, cos x (radians), tanh x, erf x, 1 / (1 + e^-x).  Dtypes f32, f64, bf16.
///   Gradient  dy cos x;  -dy sin x;  dy (1 - y^2);  dy 2/sqrt(pi) e^(-x^2);  dy y (1 - y); any order
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor sigmoid(const Tensor& x);

/// y = 1 - erf x, without its cancellation;  y = P(Z < x) = (1 + erf(x / sqrt 2)) / 2 for a standard normal Z, also
/// where it is tiny.  Dtypes f32, f64, bf16.
///   Gradient  -dy 2/sqrt(pi) e^(-x^2);  dy e^(-x^2 / 2) / sqrt(2 pi); any order
Tensor erfc(const Tensor& x);
Tensor normal_cdf(const Tensor& x);

/// y = -x ln x for x > 0, 0 for x = 0, -infinity below: the terms of an entropy.  Dtypes f32, f64, bf16.
///   Gradient  -dy (1 + ln x): infinite at 0, NaN below; any order
Tensor entr(const Tensor& x);

/// Largest integer <= x, smallest >= x, nearest (ties to even).  Dtypes f32, f64, bf16.
///   Gradient: none (it is 0 everywhere)
Tensor floor(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);

/// y = x^c for a fixed c.  Gradient: dy c x^(c-1); none where c = 0.
Tensor pow(const Tensor& x, double c);
/// y = c^x for a fixed c.  Dtypes f32, f64, bf16.  Gradient: dy y ln c (NaN for c < 0); 0 for c = 0 and x >= 0; any
/// order.
Tensor pow(double c, const Tensor& x);

/// y = min(max(x, low), high); NaN stays NaN. An infinite bound leaves its side open.  Dtypes f32, f64, bf16, i32,
/// i64.
///   Gradient  dy where low <= x <= high (the bounds included), else 0; any order
///   Errors    Error: low > high.  DTypeError: x holds integers and a bound is not whole
Tensor clamp(const Tensor& x, double low, double high);

namespace formula {
struct Neg {
  template <class T> MOEGRAD_HD T operator()(T x) const { return Sub{}(T(0), x); }
};
struct NegFloat {  // 0 - x would turn -(0) into 0
  template <class T> MOEGRAD_HD T operator()(T x) const { return -x; }
};
struct Abs {
  template <class T> MOEGRAD_HD T operator()(T x) const { return x < T(0) ? Sub{}(T(0), x) : x; }
};
struct AbsFloat {
  template <class T> MOEGRAD_HD T operator()(T x) const { return std::abs(x); }
};
struct Sign {
  template <class T> MOEGRAD_HD T operator()(T x) const { return x != x ? x : static_cast<T>((x > T(0)) - (x < T(0))); }
};
struct Square {
  template <class T> MOEGRAD_HD T operator()(T x) const { return Mul{}(x, x); }
};
struct Reciprocal {
  template <class T> MOEGRAD_HD T operator()(T x) const { return T(1) / x; }
};
struct Rsqrt {
  template <class T> MOEGRAD_HD T operator()(T x) const { return T(1) / std::sqrt(x); }
};

// Functions of one argument by name.
#define MOEGRAD_FORMULA(Name, expression)                                                        \
  struct Name {                                                                                  \
    template <class T> MOEGRAD_HD T operator()(T x) const { return static_cast<T>(expression); } \
  };
MOEGRAD_FORMULA(Exp, math::exp(x))
MOEGRAD_FORMULA(Expm1, math::expm1(x))
MOEGRAD_FORMULA(Log, math::log(x))
MOEGRAD_FORMULA(Log1p, math::log1p(x))
MOEGRAD_FORMULA(Sqrt, std::sqrt(x))
MOEGRAD_FORMULA(Sin, std::sin(x))
MOEGRAD_FORMULA(Cos, std::cos(x))
MOEGRAD_FORMULA(Tanh, math::tanh(x))
MOEGRAD_FORMULA(Erf, math::erf(x))
MOEGRAD_FORMULA(Sigmoid, math::sigmoid(x))
MOEGRAD_FORMULA(Erfc, math::erfc(x))
MOEGRAD_FORMULA(NormalCdf, math::normal_cdf(x))
MOEGRAD_FORMULA(Entr, x > T(0) ? -x * math::log(x) : x == T(0) ? T(0) : x < T(0) ? -math::Format<T>::kInfinity : x)
MOEGRAD_FORMULA(Floor, std::floor(x))
MOEGRAD_FORMULA(Ceil, std::ceil(x))
MOEGRAD_FORMULA(Round, std::nearbyint(x))
#undef MOEGRAD_FORMULA

template <class T> struct PowBy {
  T exponent;
  MOEGRAD_HD T operator()(T x) const { return std::pow(x, exponent); }
};
template <class T> struct Clamp {
  T low, high;
  MOEGRAD_HD T operator()(T x) const { return x < low ? low : x > high ? high : x; }
};
}  // namespace formula
}  // namespace moegrad
