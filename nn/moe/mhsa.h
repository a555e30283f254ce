// The attention layer of pytorch-mixtures.
#pragma once
#include "nn/dropout.h"
#include "nn/linear.h"

namespace moegrad {

/// Multi-head self-attention whose queries, keys and values come from one projection.
///   Shapes   x [B, N, D] -> y [B, N, D]; H heads share D evenly. "queries_keys_values.weight" [3 D, D] gives, for
///            feature 3 (h D/H + d) + i, query (i = 0), key or value of head h; "projection.weight" [D, D]
///   Mask     of the context, bool [B, N]: masked positions are attended by none. A row without any other gives
///            the projection's bias
///   Dropout  of attention weights, in training
///   Errors   ShapeError: x is not [B, N, D], H does not divide D
///   Source   Attention is all you need (2017), arXiv:1706.03762, section 3.2.  pytorch-mixtures, first version: MHSA
struct MHSA : Layer {
  enum class Scaling {
    scores,         ///< softmax(q k^T / sqrt(D/H)), the paper's
    none,           ///< softmax(q k^T)
    probabilities,  ///< softmax(q k^T) / sqrt(D): weights that sum to 1 / sqrt(D), the project's
  };
  struct Options {
    i64 heads = 1;
    Scaling scaling = Scaling::scores;
    double dropout = 0;
  };
  MHSA(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Linear queries_keys_values, projection;
};

}  // namespace moegrad
