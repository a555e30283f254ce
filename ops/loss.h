// What all losses share, and the losses between two tensors of numbers.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// What becomes of the losses of single elements: their mean, their sum, all of them as they are, or their sum divided
/// by the size of the first axis.
enum class Reduction { mean, sum, none, batch_mean };

/// Throws ShapeError / DTypeError naming `op`: x and target differ in shape or dtype, or are no floats.
void check_loss_operands(const char* op, const Tensor& x, const Tensor& target);
/// `losses` under a reduction.  Shapes [..] -> a scalar, or [..] for none.
///   Errors    ShapeError: there is nothing to average, or no first axis for batch_mean
Tensor reduce_loss(const char* op, const Tensor& losses, Reduction reduction);

/// y = (x - target)^2.
///   Shapes    x, target [..] alike -> a scalar, or [..] for Reduction::none
///   Dtypes    f32, f64, bf16, both alike; so for every loss below
///   Gradient  to x and target; any order
///   Errors    ShapeError: two shapes, or nothing to average.  DTypeError: two dtypes, or not a float
Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);

/// y = |x - target|, with gradient 0 where they are equal.   All else as mse_loss
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);

/// With d = x - target: y = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).
///   Gradient  dx = dy clamp(d, -delta, delta); its derivative at |d| = delta is the inner one.   All else as mse_loss
///   Errors    as mse_loss, and Error: delta is not > 0
Tensor huber_loss(const Tensor& x, const Tensor& target, double delta = 1, Reduction reduction = Reduction::mean);

/// huber_loss with delta = beta, divided by beta; l1_loss for beta = 0.
///   Errors    as mse_loss, and Error: beta < 0
///   Source    Fast R-CNN (2015), arXiv:1504.08083, equation 3
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta = 1, Reduction reduction = Reduction::mean);

}  // namespace moegrad
