// What a vision transformer begins with: an image as a sequence of tokens.
#pragma once
#include "nn/init.h"
#include "nn/module.h"
#include "ops/unfold.h"

namespace moegrad {

/// y_s = w patch_s + b for the patches of an image, row by row.
///   Shapes    x [B, C, H, W] -> y [B, S, D], S = (H / k) (W / l); what is left at the right and below is not seen.
///             proj.weight [D, C, k, l], proj.bias [D] or absent
///   Initial   within +-1/sqrt(C k l), as PyTorch's convolution
///   Errors    ShapeError: x is not [B, C, H, W] with the sizes given.  Error: a size < 1, a patch larger than the image
///   Source    An image is worth 16x16 words (2020), arXiv:2010.11929, equation 1; PatchEmbed of timm
struct PatchEmbed : Layer {
  struct Options {
    Size2 image = 224, patch = 16;
    i64 channels = 3;
    bool bias = true;
  };
  PatchEmbed(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;
  i64 patches() const {
    return options.image.rows / options.patch.rows * (options.image.columns / options.patch.columns);
  }

  Options options;
  Tensor weight, bias;
};

}  // namespace moegrad
