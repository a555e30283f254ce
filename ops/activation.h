// Activation functions, and the gated pairs of the GLU family.
#pragma once
#include "core/math.h"
#include "core/nest.h"
#include "core/tensor.h"

namespace moegrad {

/// y = max(x, 0); NaN stays NaN.
///   Shapes    x [..] -> y, same shape
///   Dtypes    f32, f64; so for every function below
///   Gradient  dx = dy where x > 0, else 0 (also at 0); any order
Tensor relu(const Tensor& x);

/// y = x P(Z < x) for a standard normal Z, that is x (1 + erf(x / sqrt 2)) / 2.
///   Gradient  dx = dy (P(Z < x) + x phi(x)), phi the normal density; any order
///   Source    Gaussian error linear units (2016), arXiv:1606.08415, section 2
Tensor gelu(const Tensor& x);

/// y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the approximation of gelu.   Source as gelu
Tensor gelu_tanh(const Tensor& x);

/// y = x / (1 + e^-x), also called swish.
///   Source    Gaussian error linear units (2016), arXiv:1606.08415, section 2
Tensor silu(const Tensor& x);

/// y = log(1 + e^(beta x)) / beta, and x itself where beta x > threshold, as PyTorch has it.
///   Gradient  dx = dy / (1 + e^(-beta x)), and dy where beta x > threshold; any order
///   Errors    Error: beta is not > 0
Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);

/// y = silu(gate) up.
///   Shapes    gate, up [..] alike -> y, same shape; slices of one tensor are read as they lie
///   Gradient  dgate = dy up silu'(gate), dup = dy silu(gate), in one pass; any order
///   Errors    ShapeError: two shapes.  DTypeError: two dtypes, or not a float
///   Source    GLU variants improve transformer (2020), arXiv:2002.05202, equation 6
Tensor swiglu(const Tensor& gate, const Tensor& up);
/// y = gelu(gate) up.   All else as swiglu
Tensor geglu(const Tensor& gate, const Tensor& up);

// Kernels, called only by ops/activation.cpp: dgate = dy up op'(gate), dup = dy op(gate), operands in that order.
namespace cpu {
template <class Op, class F>
void gated_gradient(Op op, const F* gate, const F* up, const F* dy, F* dgate, F* dup, const Nest<5>& nest);
}
namespace cuda {
template <class Op, class F>
void gated_gradient(Op op, const F* gate, const F* up, const F* dy, F* dgate, F* dup, const Nest<5>& nest);
}

namespace formula {
// A function and its derivative, `slope`.
struct Relu {
  template <class F> MOEGRAD_HD F operator()(F x) const { return x <= F(0) ? F(0) : x; }
  template <class F> MOEGRAD_HD F slope(F x) const { return x <= F(0) ? F(0) : F(1); }
};
struct Gelu {
  template <class F> MOEGRAD_HD F operator()(F x) const { return x * math::normal_cdf(x); }
  template <class F> MOEGRAD_HD F slope(F x) const {
    F a = math::abs(x);
    a = a > math::Format<F>::kCdfHigh ? math::Format<F>::kCdfHigh : a;
    constexpr F kInverseSqrt2Pi = static_cast<F>(0.398942280401432677939946059934);
    return math::normal_cdf(x) + x * (kInverseSqrt2Pi * math::exp_minus_square(a, F(0.5)));
  }
};
// (1 + tanh u) / 2 = sigmoid(2 u), which keeps its digits for large negative u.
struct GeluTanh {
  template <class F> MOEGRAD_HD F operator()(F x) const {
    const F c = bounded(x);
    return x * math::sigmoid(kScale<F> * c * (1 + kCubic<F> * c * c));
  }
  template <class F> MOEGRAD_HD F slope(F x) const {
    const F c = bounded(x);
    const F s = math::sigmoid(kScale<F> * c * (1 + kCubic<F> * c * c));
    return s + c * (s * (1 - s)) * (kScale<F> * (1 + 3 * kCubic<F> * c * c));
  }
  template <class F> static constexpr F kScale = static_cast<F>(1.59576912160573071175978423973);  // 2 sqrt(2 / pi)
  template <class F> static constexpr F kCubic = static_cast<F>(0.044715);
  /// Beyond 40 sigmoid is 0 or 1 to the last bit; x^3 would overflow long after.
  template <class F> MOEGRAD_HD static F bounded(F x) { return x < F(-40) ? F(-40) : x > F(40) ? F(40) : x; }
};
struct Silu {
  template <class F> MOEGRAD_HD F operator()(F x) const { return x * math::sigmoid(x); }
  template <class F> MOEGRAD_HD F slope(F x) const {
    const F s = math::sigmoid(x);
    return s * (1 + x * (1 - s));
  }
};
struct Softplus {
  double beta, threshold;
  template <class F> MOEGRAD_HD F operator()(F x) const {
    const F scaled = static_cast<F>(beta) * x;
    return scaled > static_cast<F>(threshold) ? x : math::softplus(scaled) / static_cast<F>(beta);
  }
  template <class F> MOEGRAD_HD F slope(F x) const {
    const F scaled = static_cast<F>(beta) * x;
    return scaled > static_cast<F>(threshold) ? F(1) : math::sigmoid(scaled);
  }
};
template <class Op> struct SlopeTimes {
  Op op;
  template <class F> MOEGRAD_HD F operator()(F x, F dy) const { return dy * op.slope(x); }
};
template <class Op> struct Gated {
  Op op;
  template <class F> MOEGRAD_HD F operator()(F gate, F up) const { return op(gate) * up; }
};
}  // namespace formula
}  // namespace moegrad
