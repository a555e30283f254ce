// Gradient clipping.
#pragma once
#include <span>

#include "core/tensor.h"

namespace moegrad {

/// What clipping found: the norm of all gradients together, and the factor for Optimizer::step that brings it to at
/// most `max_norm`. The gradients stay as they are.
struct Clip {
  Tensor norm, scale;  // f64 []
};
/// scale = min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_, for the p-norm.  Parameters without a
/// gradient count as 0.
///   Errors  Error: max_norm or p is not above 0
Clip clip_grad_norm(std::span<const Tensor> parameters, double max_norm, double p = 2);

/// Multiplies every gradient by `scale` (f64 []), in place: clipping for who reads the gradients afterwards.
void scale_gradients(std::span<const Tensor> parameters, const Tensor& scale);

/// Brings every element of every gradient into [-limit, limit], in place, as torch.nn.utils.clip_grad_value_.
///   Errors  Error: limit is negative or NaN
void clip_grad_value(std::span<const Tensor> parameters, double limit);

}  // namespace moegrad
