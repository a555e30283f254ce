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

  Options options;
  Tensor weight, bias;
};

}  // namespace moegrad
