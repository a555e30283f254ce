// Dropout as a layer.
#pragma once
#include "nn/context.h"

namespace moegrad {

/// In training, y = x / (1 - p) with probability 1 - p and 0 otherwise, element by element; else y = x.
///   Source   Dropout: a simple way to prevent neural networks from overfitting (2014)
///   Errors   Error: p is not in [0, 1); training without a random stream
struct Dropout : Layer {
  explicit Dropout(double p);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members&) override {}

  double p;
};

}  // namespace moegrad
