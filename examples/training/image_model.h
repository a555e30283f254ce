// A small vision transformer with any feed-forward layers.
#pragma once
#include <functional>
#include <memory>

#include "nn/linear.h"
#include "nn/vision/block.h"
#include "nn/vision/patch_embed.h"

namespace examples {

using namespace moegrad;

/// y = head(norm(mean of tokens(blocks(patches + positions)))).
///   Shapes    x [B, C, H, W] -> y [B, classes].  S = (H / patch) (W / patch) tokens
///   Initial   Glorot's weights (WeightInit::jax): narrow models learn much faster from them than from timm's; head 0
///   Errors    ShapeError: x has other sizes, heads do not divide the width.  Error: a size < 1, a patch larger than the
///             image
///   Source    An image is worth 16x16 words (2020), arXiv:2010.11929
struct ImageModel : Layer {
  struct Options {
    i64 channels = 1, height = 28, width = 28;  ///< of an image
    i64 patch = 7, classes = 10;
    i64 model_width = 64, layers = 4, heads = 4;
    double dropout = 0;  ///< of what attention gives
  };
  /// The feed-forward layer of a block.
  using MakeLayer = std::function<std::unique_ptr<Layer>(i64 block, Init& init)>;
  ImageModel(const Options& options, const MakeLayer& make, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  i64 tokens() const { return patches.patches(); }
  i64 rows() const { return patches.options.image.rows / patches.options.patch.rows; }
  i64 columns() const { return patches.options.image.columns / patches.options.patch.columns; }

  PatchEmbed patches;
  Tensor positions;  // [1, S, D]
  std::vector<std::unique_ptr<VisionBlock>> blocks;
  AnyNorm norm;
  Linear head;
};

}  // namespace examples
