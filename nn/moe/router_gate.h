// The scores of a router.
#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace moegrad {

/// logits = x w^T + b: how well each expert suits each token. Small differences decide, so bf16 is widened here; gates
/// are rounded where they meet values.
///   Shapes   x [.., D] -> logits [.., E], f32 or wider.  weight [E, D], or [D, E] under `columns`; bias [E] or absent
///   Initial  weight uniform on +-1/sqrt(D), bias too
///   Errors   ShapeError: the last axis of x is not D
struct RouterGate : Module {
  struct Options {
    bool bias = false;
    bool columns = false;                ///< the weight has a column per expert
    const char* weight = "gate.weight";  ///< names in the state dictionary
    const char* bias_name = "gate.bias";
  };
  RouterGate(i64 width, i64 experts, Options options, Init& init);
  Tensor forward(const Tensor& x) const;
  void members(Members& m) override;
  i64 width() const { return weight.dim(options.columns ? 0 : 1); }  ///< D

  Options options;
  Tensor weight, bias;
};

/// Throws ShapeError, DTypeError, by the name of `who`: x is not [G, N, D] with D = width, or a mask not bool [G, N].
void check_router_input(const char* who, const Tensor& x, i64 width, const Tensor& mask);

/// The least finite number of x's dtype, f32 or f64: a score that no token has. Last in top_k and 0 in a softmax, which
/// -infinity, where all are masked, would turn into NaN.
double lowest_score(const Tensor& x);

}  // namespace moegrad
