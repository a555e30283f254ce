// Normalisation over the last axis, as layers.
#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace moegrad {

/// y = (x - mean) / sqrt(variance + eps) weight + bias, over the last axis.
///   Shapes   x [.., width] -> y, same shape.  weight, bias [width]
///   Source   Layer normalization (2016), arXiv:1607.06450
struct LayerNorm : Module {
  LayerNorm(i64 width, Init& init, double eps = 1e-5);
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override;

  Tensor weight, bias;
  double eps;
};

/// y = x / sqrt(mean of x^2 + eps) weight, over the last axis.
///   Shapes   x [.., width] -> y, same shape.  weight [width]
///   Source   Root mean square layer normalization (2019), arXiv:1910.07467
struct RMSNorm : Module {
  RMSNorm(i64 width, Init& init, double eps = 1e-6);
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override { m.parameter("weight", weight); }

  Tensor weight;
  double eps;
};

}  // namespace moegrad
