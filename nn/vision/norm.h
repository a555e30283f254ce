// A norm whose kind is an option of the model.
#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace moegrad {

struct NormOptions {
  enum class Kind { layer, rms };
  Kind kind = Kind::layer;
  double eps = 1e-6;
};

/// LayerNorm or RMSNorm (nn/norm.h), under the same names.
///   Shapes   x [.., width] -> y, same shape.  weight [width]; bias [width] with Kind::layer only
///   Errors   Error: eps < 0, at the first use.  ShapeError: the last axis of x is not `width`
struct AnyNorm : Module {
  AnyNorm(i64 width, NormOptions options, Init& init);
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override;

  NormOptions options;
  Tensor weight, bias;
};

}  // namespace moegrad
