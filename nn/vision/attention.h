// Multi-head self-attention with one projection for queries, keys and values.
#pragma once
#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/vision/norm.h"
#include "ops/attention.h"

namespace moegrad {

/// Attention of H heads, joined: qkv [B, S, 3 D] holds the queries, keys and values of all heads side by side.
///   Shapes    -> y [B, S, D].  norms: of each head's queries and keys, or null
Tensor attend(const Tensor& qkv, i64 heads, const AttentionOptions& how, const AnyNorm* q_norm = nullptr,
              const AnyNorm* k_norm = nullptr);

/// y = proj(concat over heads h of softmax(q_h k_h^T / sqrt(D/H)) v_h), with q, k, v = qkv(x).
///   Shapes    x [B, S, D] -> y [B, S, D]; H heads share D evenly.  qkv.weight [3 D, D]: rows of queries, keys, values;
///             proj.weight [D, D], proj.bias [D]
///   qk_norm   each head's queries and keys are normalised: q_norm, k_norm of width D/H
///   dropout   of attention weights and of y, in training
///   Source    Attention is all you need (2017), arXiv:1706.03762, section 3.2; qk_norm: Scaling vision transformers to
///             22 billion parameters (2023), arXiv:2302.05442, section 2; Attention of timm, whose names it has
///   Errors    ShapeError: x is not [B, S, D], H does not divide D.  Error: a dropout outside [0, 1)
struct FusedAttention : Layer {
  struct Options {
    i64 heads = 8;
    bool qkv_bias = false;
    bool qk_norm = false;
    double dropout = 0, output_dropout = 0;
    NormOptions norm = {.eps = 1e-5};  ///< of queries and keys
  };
  FusedAttention(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Linear qkv, proj;
  std::unique_ptr<AnyNorm> q_norm, k_norm;  // with qk_norm only
  Dropout weight_dropout, output_dropout;
};

}  // namespace moegrad
