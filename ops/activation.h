// Activation functions, and the gated pairs of the GLU family.
#pragma once
#include "core/math.h"
#include "core/nest.h"
#include "core/tensor.h"

namespace moegrad {

/// y = max(x, 0); NaN stays NaN.
///   Shapes    x [..] -> y, same shape
///   Dtypes    f32, f64, bf16; so for every function below
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

/// y = log(1 / (1 + e^-x)) = -log(1 + e^-x), with all its digits where it is tiny and where e^-x overflows.
///   Gradient  dx = dy / (1 + e^x); any order
Tensor log_sigmoid(const Tensor& x);

/// y = x / (1 + |x|).
///   Gradient  dx = dy / (1 + |x|)^2; the second derivative is 0 at 0, where it jumps from 2 to -2; any order
Tensor softsign(const Tensor& x);

/// y = x tanh(log(1 + e^x)).
///   Gradient  dx = dy (t + x (1 - t^2) / (1 + e^-x)) with t = tanh(log(1 + e^x)); any order
///   Source    Mish: a self regularized non-monotonic activation function (2019), arXiv:1908.08681, equation 1
Tensor mish(const Tensor& x);

/// y = x where x > 0, else alpha (e^x - 1).
///   Gradient  dx = dy where x > 0, else dy alpha e^x (also at 0); any order
///   Source    Fast and accurate deep network learning by exponential linear units (2015), arXiv:1511.07289, equation
///             15
Tensor elu(const Tensor& x, double alpha = 1);

/// y = x where x > 0, else slope x.
///   Gradient  dx = dy where x > 0, else slope dy (also at 0); any order
Tensor leaky_relu(const Tensor& x, double slope = 0.01);

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
struct LogSigmoid {
  template <class F> MOEGRAD_HD F operator()(F x) const { return -math::softplus(-x); }
  template <class F> MOEGRAD_HD F slope(F x) const { return math::sigmoid(-x); }
};
struct Softsign {
  template <class F> MOEGRAD_HD F operator()(F x) const { return x / (1 + math::abs(x)); }
  template <class F> MOEGRAD_HD F slope(F x) const {
    const F d = 1 + math::abs(x);
    return 1 / d / d;
  }
};
// With e = e^-|x|, tanh(log(1 + e^x)) is (e^2 + 2 e) / (e^2 + 2 e + 2) for x < 0 and (1 + 2 e) / (1 + 2 e + 2 e^2)
// above: nothing overflows and nothing cancels.
struct Mish {
  template <class F> MOEGRAD_HD F operator()(F x) const { return x * tanh_softplus(x); }
  template <class F> MOEGRAD_HD F slope(F x) const {
    const F c = x < F(-800) ? F(-800) : x > F(800) ? F(800) : x;  // no infinity times 0
    const F t = tanh_softplus(x);
    return t + c * ((1 - t * t) * math::sigmoid(x));
  }
  template <class F> MOEGRAD_HD static F tanh_softplus(F x) {
    const F e = math::exp(-math::abs(x));
    const F below = e * (e + 2), above = 1 + 2 * e;
    return x < 0 ? below / (below + 2) : above / (above + 2 * e * e);
  }
};
struct Elu {
  double alpha;
  template <class F> MOEGRAD_HD F operator()(F x) const { return x > 0 ? x : static_cast<F>(alpha) * math::expm1(x); }
  template <class F> MOEGRAD_HD F slope(F x) const { return x > 0 ? F(1) : static_cast<F>(alpha) * math::exp(x); }
};
struct LeakyRelu {
  double below;
  template <class F> MOEGRAD_HD F operator()(F x) const { return x > 0 ? x : static_cast<F>(below) * x; }
  template <class F> MOEGRAD_HD F slope(F x) const { return x > 0 ? F(1) : static_cast<F>(below); }
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
