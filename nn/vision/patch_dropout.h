// Training on some of the patches of an image.
#pragma once
#include "nn/context.h"

namespace moegrad {

/// In training, keeps max(1, (1 - p) S rounded down) of the S patches of each sample, drawn without replacement; else
/// y = x.
///   Shapes   x [B, prefix + S, D] -> y [B, prefix + kept, D]; the first `prefix` tokens (the class token) all stay
///   Order    that of the draw, or `ordered`: as in x
///   Values   S = 0: y = x
///   Source   Scaling language-image pre-training via masking (2022), arXiv:2212.00794, section 3; PatchDropout of timm
///   Errors   Error: p outside [0, 1), prefix < 0; training without a random stream.  ShapeError: x is not
///            [B, prefix + S, D]
struct PatchDropout : Layer {
  explicit PatchDropout(double p, i64 prefix = 1, bool ordered = false);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members&) override {}

  double p;
  i64 prefix;
  bool ordered;
};

}  // namespace moegrad
