// Losses between probabilities: of two classes, and of distributions.
#pragma once
#include <cmath>

#include "core/math.h"
#include "ops/loss.h"

namespace moegrad {

/// How single losses are weighted, and what becomes of them. The weights have no gradient.
struct BinaryLossOptions {
  Reduction reduction = Reduction::mean;  ///< the mean divides by the number of elements, not by the weights
  Tensor weight = {};                     ///< factor of each loss, broadcasts to x; an empty handle: all 1
  Tensor positive_weight = {};            ///< factor of the positive term alone (logits only), broadcasts to x
};

/// y = -w (target log p + (1 - target) log(1 - p)), where a logarithm below -100 counts as -100.
///   Shapes    p, target [..] alike -> a scalar, or [..] for Reduction::none
///   Dtypes    f32, f64, bf16, all alike
///   Units     p probabilities in [0, 1], y nats; NaN for p outside
///   Gradient  dp = dy w (p - target) / max(p (1 - p), 1e-12), finite also for p = 0 and 1;
///             dtarget = dy w (log(1 - p) - log p), with the cut logarithms; any order
///   Errors    ShapeError: two shapes, a weight does not broadcast to p, nothing to average.  DTypeError: two dtypes,
///             or not a float.  Error: options.positive_weight is given
Tensor bce_loss(const Tensor& p, const Tensor& target, const BinaryLossOptions& options = {});

/// y = -w (v target log sigmoid(x) + (1 - target) log(1 - sigmoid(x))) with w and v the weight and positive_weight,
/// computed from log_sigmoid, so that nothing over- or underflows.
///   Gradient  dx = dy w ((1 - target) sigmoid(x) - v target sigmoid(-x)); to target as well; any order
///   All else as bce_loss, with logits x for p and both weights
Tensor bce_with_logits_loss(const Tensor& x, const Tensor& target, const BinaryLossOptions& options = {});

/// y = target (log target - x), the terms of the divergence of the distribution e^x from `target`; a target of 0 gives
/// 0.
///   Shapes    x, target [..] alike -> a scalar, or [..] for Reduction::none.  Reduction::batch_mean is the divergence
///             per row of the first axis, mean is that per element
///   Dtypes    f32, f64, bf16, both alike
///   Units     x log-probabilities (nats), target probabilities, or their logarithms under log_target
///   Gradient  dx = -dy target, dtarget = dy (log target + 1 - x), and 0 for a target of 0; any order
///   Errors    ShapeError: two shapes, or nothing to average.  DTypeError: two dtypes, or not a float
Tensor kl_div_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean,
                   bool log_target = false);

/// y = -sum p log p along `axis`, with p = softmax(x): how undecided the logits are.
///   Shapes    x [.., n, ..] -> y without `axis`; n >= 1
///   Dtypes    f32, f64, bf16
///   Units     x logits, y nats in [0, log n]; a logit of -infinity adds nothing
///   Gradient  dx = -dy p (log p + y); any order
///   Errors    ShapeError: axis out of range, n = 0.  DTypeError: not a float
Tensor entropy(const Tensor& x, int axis = -1);

namespace formula {
struct BinaryCrossEntropy {
  template <class F> MOEGRAD_HD static F cut(F log_p) { return log_p < F(-100) ? F(-100) : log_p; }
  template <class F> MOEGRAD_HD F operator()(F p, F target) const {
    return (target - 1) * cut(math::log1p(-p)) - target * cut(math::log(p));
  }
};
}  // namespace formula
}  // namespace moegrad
