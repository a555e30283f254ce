// The transformer block of vision transformers.
#pragma once
#include <optional>

#include "nn/vision/attention.h"
#include "nn/vision/drop_path.h"

namespace moegrad {

/// y = gamma x, with a learned gamma [D].
///   Source   Going deeper with image transformers (2021), arXiv:2103.17239, equation 4
struct LayerScale : Module {
  LayerScale(i64 width, double initial, Init& init) : gamma(init.constant({width}, initial)) {}
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override { m.parameter("gamma", gamma); }

  Tensor gamma;
};

/// h = x + drop_path(ls1(attn(norm1(x))));  y = h + drop_path(ls2(mlp(norm2(h)))), with any layer as `mlp`: dense,
/// mixture, ..
///   Shapes   x [B, S, D] -> y [B, S, D].  ls1 and ls2 are there with `layer_scale` only
///   Source   An image is worth 16x16 words (2020), arXiv:2010.11929, equations 2 and 3; Block of timm, whose names it
///            has
///   Errors   Error: no mlp; rates as DropPath and FusedAttention.  ShapeError: as FusedAttention
struct VisionBlock : Layer {
  struct Options {
    FusedAttention::Options attention = {};
    NormOptions norm = {};
    std::optional<double> layer_scale = {};  ///< gamma's initial value
    double drop_path = 0;
  };
  VisionBlock(i64 width, Options options, std::unique_ptr<Layer> mlp, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  AnyNorm norm1, norm2;
  FusedAttention attn;
  std::unique_ptr<Layer> mlp;
  std::unique_ptr<LayerScale> ls1, ls2;
  DropPath drop_path;
};

}  // namespace moegrad
