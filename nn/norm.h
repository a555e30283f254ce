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

/// The norms of soft-moe-pytorch and st-moe-pytorch, which call their weight gamma, over the last axis.
///   rms    y = x / max(|x|, 1e-12) sqrt(width) gamma
///   layer  y = (x - mean) / sqrt(variance + 1e-5) gamma + beta; beta is a buffer: saved, but not trained
///   Shapes   x [.., width] -> y, same shape.  gamma, beta [width]
///   Dtypes   as the weights; an f32 x with bf16 weights is computed in f32, as routers do
///   Gradient a row of zeros has the slope sqrt(width) gamma / 1e-12 with rms: finite, and huge
///   Source   as RMSNorm and LayerNorm
struct GammaNorm : Module {
  enum class Kind { rms, layer };
  GammaNorm(i64 width, Kind kind, Init& init);
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override;

  Tensor gamma, beta;  // no beta with rms
};

}  // namespace moegrad
