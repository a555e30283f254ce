// PyTorch's TransformerEncoderLayer.
#pragma once
#include "nn/feed_forward.h"
#include "nn/vision/norm.h"

namespace moegrad {

/// norm_first = false: h = norm1(x + attention(x));  y = norm2(h + feed_forward(h))
/// norm_first = true:  h = x + attention(norm1(x));  y = h + feed_forward(norm2(h))
///   with feed_forward(h) = linear2(a(linear1(h)))
///   Shapes   x [B, S, D] with batch_first, else [S, B, D] -> y as x: attention is over the axis S.
///            self_attn.in_proj_weight [3 D, D]: rows of queries, keys, values; linear1.weight [F, D], linear2.weight
///            [D, F]
///   Initial  in_proj_weight after Glorot and Bengio, the biases of attention zeros, the rest as Linear
///   Dropout  of attention weights, of the hidden values, and of both branches, in training
///   Source   Attention is all you need (2017), arXiv:1706.03762, section 3.1; norm_first: On layer normalization in the
///            transformer architecture (2020), arXiv:2002.04745; names and defaults of PyTorch's class
///   Errors   ShapeError: x has not three axes, of which the last is D; H does not divide D.  Error: hidden < 1, a gated
///            activation, a dropout outside [0, 1)
struct TransformerEncoderLayer : Layer {
  struct Options {
    i64 heads = 1;
    i64 hidden = 2048;  ///< F
    double dropout = 0.1;
    Activation activation = Activation::relu;
    double eps = 1e-5;
    bool batch_first = false;
    bool norm_first = false;
    bool bias = true;  ///< of every projection and norm
  };
  TransformerEncoderLayer(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Tensor in_proj_weight, in_proj_bias;
  Linear out_proj, linear1, linear2;
  AnyNorm norm1, norm2;
  Dropout dropout;

 private:
  Tensor attention(const Tensor& x, Context& context) const;
  Tensor feed_forward(const Tensor& x, Context& context) const;
};

}  // namespace moegrad
