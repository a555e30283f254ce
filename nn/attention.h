// Multi-head self-attention.
#pragma once
#include "nn/dropout.h"
#include "nn/linear.h"

namespace moegrad {

/// The width of a layer `who` whose heads share it evenly.   Errors  ShapeError: heads < 1, they do not divide the width
i64 width_of_heads(const char* who, i64 width, i64 heads);

/// y = concat over heads h of softmax(q_h k_h^T / sqrt(D/H)) v_h, projected; q, k, v = projections of x.
///   Shapes   x [B, S, D] -> y [B, S, D]; H heads share D evenly.  Weights [D, D] under the names q_proj, k_proj,
///            v_proj, o_proj
///   causal   position s sees positions 0 .. s only
///   dropout  of attention weights, in training, and of y
///   Source   Attention is all you need (2017), arXiv:1706.03762, section 3.2
///   Errors   ShapeError: x is not [B, S, D], or H does not divide D
struct SelfAttention : Layer {
  struct Options {
    i64 heads = 1;
    bool causal = true;
    double dropout = 0;
    bool bias = false;         ///< of q, k and v; the output projection always has one
    double output_gain = 1.0;  ///< of the output projection's initial weights, beside Linear's
  };
  SelfAttention(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Linear q_proj, k_proj, v_proj, o_proj;
  Dropout output_dropout;
};

}  // namespace moegrad
