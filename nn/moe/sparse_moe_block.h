// The block of ST-MoE: a mixture between two dense feed-forward layers.
#pragma once
#include "nn/moe/st_moe.h"
#include "nn/norm.h"

namespace moegrad {

/// w2(gelu(b) a * mult_bias) of the normalised x, [a, b] = w1 x: an expert of StMoE by itself, with a norm in front.
///   Shapes   x [.., D] -> y, same shape.  State "net.0.gamma", "net.1.weight", "net.2.mult_bias", "net.3.weight", ..
///   Errors   Error: no hidden unit
struct StFeedForward : Layer {
  StFeedForward(i64 width, Init& init, double hidden_mult = 4);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  GammaNorm norm;
  Linear w1, w2;
  Tensor mult_bias;
};

/// x += ff_before(x);  x += moe(norm(x));  x += ff_after(x), the first and the last where wanted.
///   Shapes   x [.., N, D] -> y, same shape
///   Mask     as StMoE; masked tokens still pass the feed-forward layers
///   State    "moe.gate..", "moe_prenorm.gamma", "ff_before.net.0.gamma", "ff_after..": SparseMoEBlock of
///            st-moe-pytorch
///   Errors   Error: no mixture is given, and as StMoE and StFeedForward
///   Source   arXiv:2202.08906, appendix C: a dense layer beside each sparse one
struct SparseMoEBlock : Layer {
  struct Options {
    StMoE::Options moe = {};
    bool ff_before = false, ff_after = true;
  };
  SparseMoEBlock(i64 width, Options options, Init& init);
  SparseMoEBlock(std::unique_ptr<StMoE> moe, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  std::unique_ptr<StMoE> moe;
  GammaNorm moe_prenorm;
  std::unique_ptr<StFeedForward> ff_before, ff_after;
};

}  // namespace moegrad
