// A transformer block.
#pragma once
#include "nn/attention.h"
#include "nn/norm.h"

namespace moegrad {

/// h = x + attention(norm1(x));  y = h + feed_forward(norm2(h)), with any feed-forward layer: dense, mixture, ..
///   Shapes   x [B, S, D] -> y [B, S, D]
///   Source   On layer normalization in the transformer architecture (2020), arXiv:2002.04745, figure 1 (b)
struct Block : Layer {
  Block(i64 width, SelfAttention::Options options, std::unique_ptr<Layer> feed_forward, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  LayerNorm norm1, norm2;
  SelfAttention attention;
  std::unique_ptr<Layer> feed_forward;
};

}  // namespace moegrad
