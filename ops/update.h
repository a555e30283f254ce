// What an optimizer does to a parameter in place, in one pass over memory. No graph is recorded and no gradient is
// changed.
#pragma once
#include <span>

#include "core/math.h"
#include "core/tensor.h"

namespace moegrad {

/// The dtype of the states for a parameter of dtype w: f32 beside bf16.
constexpr DType state_dtype(DType w) { return w == DType::bf16 ? DType::f32 : w; }

/// What every update reads besides its settings: scalars on the device of the parameter.
struct UpdateStep {
  Tensor lr;            ///< f64 []
  Tensor step;          ///< i64 [], t below: 1 for the first update of this parameter
  Tensor scale;         ///< f64 [], multiplies the gradient (clipping); may be absent
  double lr_scale = 1;  ///< multiplies lr
};

/// Throws DTypeError / ShapeError / DeviceError naming `op` and `what`: x is no scalar of this dtype on `device`.
void check_update_scalar(const char* op, const char* what, const Tensor& x, DType dtype, Device device);

// One step of an optimizer for one parameter, in place, with g = scale dw and r = lr lr_scale.
//   Shapes    w, dw and the states alike; w and the states contiguous
//   Dtypes    w f32, f64, bf16; dw as w; the states as w, but f32 beside bf16. A step is computed in f32 then, and w is
//             rounded to the nearest bf16: a step of less than about 2^-9 of a weight leaves it as it is
//   States    in the order of the rule's card; a state that its settings leave out is an empty handle
//   Errors    ShapeError, DTypeError, DeviceError: they differ, or a scalar of the step is none or of another dtype.
//             Error: w or a state is not contiguous, a state is missing
//   Gradient  none; an update counts as a change, so that a backward which saved w fails

/// g = g + weight_decay w;  v = momentum v + (1 - dampening) g, but v = g where t = 1;  w = w - r (g + momentum v) with
/// nesterov, else w - r v.   States: v, absent without momentum.
///   Source    Sutskever et al.: On the importance of initialization and momentum in deep learning (2013), as PyTorch's
///             SGD writes it
struct SgdRule {
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
};
void sgd_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const SgdRule& rule,
                const UpdateStep& at);

/// g = g + weight_decay w, or, decoupled, w = w - r weight_decay w;  m = beta1 m + (1 - beta1) g;
/// v = beta2 v + (1 - beta2) g^2;  w = w - r (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).  With amsgrad the
/// largest v so far takes the place of v in the last formula.   States: m, v, the largest v (absent without amsgrad).
///   Source    Adam (2014), arXiv:1412.6980, Algorithm 1; decoupled: AdamW (2017), arXiv:1711.05101, Algorithm 2;
///             amsgrad (2018), arXiv:1904.09237, Algorithm 2
struct AdamRule {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false, amsgrad = false;
};
void adam_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const AdamRule& rule,
                 const UpdateStep& at);

/// g = g + weight_decay w;  s = alpha s + (1 - alpha) g^2;  u = g / (sqrt(s) + eps), or, centred, with
/// a = alpha a + (1 - alpha) g, u = g / (sqrt(s - a^2) + eps);  w = w - r u, or, with momentum, b = momentum b + u and
/// w = w - r b.   States: s, a (absent if not centred), b (absent without momentum). Where rounding leaves s - a^2 below
/// 0, it counts as 0.
///   Source    Hinton: Neural networks for machine learning, lecture 6e (2012); centred: Graves (2013),
///             arXiv:1308.0850, equations 38 to 45
struct RmspropRule {
  double alpha = 0.99, eps = 1e-8, momentum = 0, weight_decay = 0;
  bool centered = false;
};
void rmsprop_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const RmspropRule& rule,
                    const UpdateStep& at);

/// g = g + weight_decay w;  s = s + g^2;  w = w - r / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).   States: s.
///   Source    Duchi, Hazan, Singer: Adaptive subgradient methods for online learning (2011), section 1.1
struct AdagradRule {
  double eps = 1e-10, lr_decay = 0, weight_decay = 0;
};
void adagrad_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const AdagradRule& rule,
                    const UpdateStep& at);

/// w = w - r (sign(beta1 m + (1 - beta1) g) + weight_decay w);  m = beta2 m + (1 - beta2) g.   sign(0) = 0, and NaN
/// stays.   States: m.
///   Source    Symbolic discovery of optimization algorithms (2023), arXiv:2302.06675, Algorithm 2
struct LionRule {
  double beta1 = 0.9, beta2 = 0.99, weight_decay = 0;
};
void lion_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const LionRule& rule,
                 const UpdateStep& at);

/// One of the parameters that are updated together. Its step is counted up first.
struct Updated {
  Tensor w, dw;
  std::span<const Tensor> states;
  Tensor step;  ///< i64 []
};
/// The update above of every parameter of a list, with the same bits; on a GPU a launch works on dozens of them. Rule is
/// one of those above; `at.step` is not used.
///   Errors    as above, before anything has changed; DeviceError: the parameters are not on one device
template <class Rule> void update_all(std::span<const Updated> list, const Rule& rule, const UpdateStep& at);

/// x = x + 1, in place.  Shapes: i64 [].
void count_up(const Tensor& x);

/// y = keep y + (1 - keep) x, in place: a moving average.
///   Shapes    x, y alike, y contiguous.  Dtypes: f32, f64, bf16, both alike (bf16 loses steps below 2^-9 of y)
///   Errors    as the updates; Error: keep outside [0, 1]
void average_update(const Tensor& y, const Tensor& x, double keep);

/// Pointers of one update; those of absent states are null.
template <class F> struct UpdateArrays {
  F* w;
  const F* dw;
  Computed<F>* states[3];
  i64 n;
  i64* step;
};
/// The same for all of a list.
struct UpdateClock {
  const double* lr;
  const double* scale;  // nullptr: 1
  double lr_scale;
  bool count;     // each step up, first
  unsigned uses;  // bit i: state i is there
};
// Kernels, called only by ops/update.cpp.
namespace cpu {
template <class F, class Rule>
void update(std::span<const UpdateArrays<F>> list, const UpdateClock& clock, const Rule& rule);
template <class F> void average_update(F* y, const F* x, i64 n, double keep);
void count_up(i64* x);
}  // namespace cpu
namespace cuda {
template <class F, class Rule>
void update(std::span<const UpdateArrays<F>> list, const UpdateClock& clock, const Rule& rule);
template <class F> void average_update(F* y, const F* x, i64 n, double keep);
void count_up(i64* x);
}  // namespace cuda

namespace formula {

// A rule at one step: its coefficients, worked out once in f64, and what it does to one element. `a`, `b`, `c` are the
// states in order, bit i of Uses says that state i is there; g comes scaled. Every product that feeds a sum is a
// mul_add, as core/math.h has it. No branches, so that the loop vectorises.
template <class F> struct SgdStep {
  F rate, momentum, kept, fresh, decay, ahead, direct;
  MOEGRAD_HD SgdStep(const SgdRule& r, double lr, i64 t)
      : rate(static_cast<F>(lr)),
        momentum(static_cast<F>(r.momentum)),
        kept(t == 1 ? F(0) : momentum),
        fresh(static_cast<F>(t == 1 ? 1 : 1 - r.dampening)),
        decay(static_cast<F>(r.weight_decay)),
        ahead(r.nesterov ? momentum : F(1)),
        direct(r.nesterov ? F(1) : F(0)) {}
  template <unsigned Uses> MOEGRAD_HD void apply(F& w, F g, F& a, F&, F&) const {
    g = math::mul_add(decay, w, g);
    if constexpr ((Uses & 1) == 0) {
      w = math::mul_add(-rate, g, w);
    } else {
      a = math::mul_add(kept, a, fresh * g);
      w = math::mul_add(-rate, math::mul_add(ahead, a, direct * g), w);
    }
  }
};

template <class F> struct AdamStep {
  F b1, b2, c1, c2, eps, decay, keep, rate, unbias;
  // m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), with the divisions taken out of the loop
  MOEGRAD_HD AdamStep(const AdamRule& r, double lr, i64 t)
      : b1(static_cast<F>(r.beta1)),
        b2(static_cast<F>(r.beta2)),
        c1(static_cast<F>(1 - r.beta1)),
        c2(static_cast<F>(1 - r.beta2)),
        eps(static_cast<F>(r.eps)),
        decay(static_cast<F>(r.decoupled ? 0 : r.weight_decay)),
        keep(static_cast<F>(r.decoupled ? math::mul_add(-lr, r.weight_decay, 1.0) : 1)),
        rate(static_cast<F>(lr / (1 - math::pow(r.beta1, static_cast<double>(t))))),
        unbias(static_cast<F>(1 / math::sqrt(1 - math::pow(r.beta2, static_cast<double>(t))))) {}
  template <unsigned Uses> MOEGRAD_HD void apply(F& w, F g, F& a, F& b, F& c) const {
    g = math::mul_add(decay, w, g);
    a = math::mul_add(b1, a, c1 * g);
    b = math::mul_add(b2, b, c2 * g * g);
    if constexpr ((Uses & 4) != 0) c = c > b ? c : b;
    const F spread = (Uses & 4) != 0 ? c : b;
    w = math::mul_add(keep, w, -rate * a / math::mul_add(math::sqrt(spread), unbias, eps));
  }
};

template <class F> struct RmspropStep {
  F rate, alpha, fresh, eps, momentum, decay;
  MOEGRAD_HD RmspropStep(const RmspropRule& r, double lr, i64)
      : rate(static_cast<F>(lr)),
        alpha(static_cast<F>(r.alpha)),
        fresh(static_cast<F>(1 - r.alpha)),
        eps(static_cast<F>(r.eps)),
        momentum(static_cast<F>(r.momentum)),
        decay(static_cast<F>(r.weight_decay)) {}
  template <unsigned Uses> MOEGRAD_HD void apply(F& w, F g, F& a, F& b, F& c) const {
    g = math::mul_add(decay, w, g);
    a = math::mul_add(alpha, a, fresh * g * g);
    F spread = a;
    if constexpr ((Uses & 2) != 0) {
      b = math::mul_add(alpha, b, fresh * g);
      spread = math::mul_add(-b, b, a);
      spread = spread < F(0) ? F(0) : spread;  // by rounding; NaN stays
    }
    const F u = g / (math::sqrt(spread) + eps);
    c = math::mul_add(momentum, c, u);  // u itself where c is not kept
    w = math::mul_add(-rate, c, w);
  }
};

template <class F> struct AdagradStep {
  F rate, eps, decay;
  MOEGRAD_HD AdagradStep(const AdagradRule& r, double lr, i64 t)
      : rate(static_cast<F>(lr / math::mul_add(static_cast<double>(t - 1), r.lr_decay, 1.0))),
        eps(static_cast<F>(r.eps)),
        decay(static_cast<F>(r.weight_decay)) {}
  template <unsigned Uses> MOEGRAD_HD void apply(F& w, F g, F& a, F&, F&) const {
    g = math::mul_add(decay, w, g);
    a = math::mul_add(g, g, a);
    w = math::mul_add(-rate, g / (math::sqrt(a) + eps), w);
  }
};

template <class F> struct LionStep {
  F rate, b1, b2, c1, c2, keep;
  MOEGRAD_HD LionStep(const LionRule& r, double lr, i64)
      : rate(static_cast<F>(lr)),
        b1(static_cast<F>(r.beta1)),
        b2(static_cast<F>(r.beta2)),
        c1(static_cast<F>(1 - r.beta1)),
        c2(static_cast<F>(1 - r.beta2)),
        keep(static_cast<F>(math::mul_add(-lr, r.weight_decay, 1.0))) {}
  template <unsigned Uses> MOEGRAD_HD void apply(F& w, F g, F& a, F&, F&) const {
    const F u = math::mul_add(b1, a, c1 * g);
    const F sign = u > F(0) ? F(1) : u < F(0) ? F(-1) : u;  // u itself: 0 or NaN
    w = math::mul_add(keep, w, -rate * sign);
    a = math::mul_add(b2, a, c2 * g);
  }
};

// The step of a rule.
template <class F> MOEGRAD_HD inline SgdStep<F> at(const SgdRule& r, double lr, i64 t) { return {r, lr, t}; }
template <class F> MOEGRAD_HD inline AdamStep<F> at(const AdamRule& r, double lr, i64 t) { return {r, lr, t}; }
template <class F> MOEGRAD_HD inline RmspropStep<F> at(const RmspropRule& r, double lr, i64 t) { return {r, lr, t}; }
template <class F> MOEGRAD_HD inline AdagradStep<F> at(const AdagradRule& r, double lr, i64 t) { return {r, lr, t}; }
template <class F> MOEGRAD_HD inline LionStep<F> at(const LionRule& r, double lr, i64 t) { return {r, lr, t}; }

}  // namespace formula
}  // namespace moegrad
