// Scaled dot-product attention without the [queries, keys] matrix in memory.
#pragma once
#include <optional>

#include "core/nest.h"
#include "ops/dropout.h"

namespace moegrad {

struct AttentionOptions {
  bool causal = false;          ///< query i sees keys j <= i + T - S: the last query sees all, as with a cache of keys
  std::optional<double> scale;  ///< of the scores; 1 / sqrt(d) if not given
  Tensor mask;                  ///< bool, broadcasts to [.., S, T], true = attend; an empty handle: all
  Tensor bias;                  ///< float, broadcasts to [.., S, T], added to the scores; an empty handle: none
  double dropout = 0;           ///< share of the probabilities that are dropped, as dropout of a tensor [.., T, S] does
  Draw draw;                    ///< names the dropped ones; needed where dropout > 0
};

/// y = softmax(scale q k^T + bias) v, the softmax over the keys that a query sees.
///   Shapes    q [.., S, d], k [.., T, d], v [.., T, e] -> y [.., S, e]; the axes before, batch and heads, are alike.
///             Operands are read as they lie where their last axis is contiguous; y and the gradients are laid out
///             like their operand, so heads split off by permute are joined again without a copy
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  to q, k, v and bias; keeps y and one log-sum-exp per query, and repeats the probabilities; any order. With a
///             bias it is composed of public ops and does keep the matrix
///   Values    a query that sees no key gives 0, with gradient 0; one whose keys all have the bias -infinity gives NaN
///   Errors    ShapeError: shapes do not fit.  DTypeError: wrong dtypes.  Error: dropout as in ops/dropout.h
///   Source    Attention is all you need (2017), arXiv:1706.03762, equation 1; backward: FlashAttention-2 (2023),
///             arXiv:2307.08691, section 2.3
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions options = {});

/// Strides in elements; the last axis is contiguous, but for the mask.
struct AttentionPlan {
  enum Operand { kQ, kK, kV, kMask, kY, kDy, kDq, kDk, kDv, kOperands };
  i64 queries, keys, width, value_width;
  double scale;
  bool causal, drops;
  DropoutPlan dropout;
  i64 row[kOperands];  // from row to row
  i64 mask_column;
  Nest<kOperands> batch;
};
template <class F> struct AttentionInputs {
  const F *q, *k, *v;
  const bool* mask;  // or null
};
template <class F> struct AttentionOutputs {
  F* y;
  Computed<F>* lse;  // log-sum-exp [batch, queries] in row-major order, +inf where no key is seen
};
template <class F> struct AttentionGradients { F *dq, *dk, *dv; };
// Kernels, called only by ops/attention.cpp. F is float or double, on a GPU also bf16.
namespace cpu {
template <class F>
void attention_forward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const AttentionPlan& plan);
template <class F>
void attention_backward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const F* dy,
                        const AttentionGradients<F>& to, const AttentionPlan& plan);
}  // namespace cpu
namespace cuda {
template <class F>
void attention_forward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const AttentionPlan& plan);
template <class F>
void attention_backward(const AttentionInputs<F>& in, const AttentionOutputs<F>& out, const F* dy,
                        const AttentionGradients<F>& to, const AttentionPlan& plan);
}  // namespace cuda

}  // namespace moegrad
