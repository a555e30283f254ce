// Stochastic depth.
#pragma once
#include "nn/context.h"

namespace moegrad {

/// In training, y_b = x_b / (1 - p) with probability 1 - p and 0 otherwise, for each sample b as a whole; else y = x.
///   Shapes   x [B, ..] -> y, same shape
///   Values   p = 1 drops everything: zeros
///   Source   Deep networks with stochastic depth (2016), arXiv:1603.09382, section 3; DropPath of timm
///   Errors   Error: p outside [0, 1]; training without a random stream.  ShapeError: x has no axis
struct DropPath : Layer {
  explicit DropPath(double p);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members&) override {}

  double p;
};

}  // namespace moegrad
