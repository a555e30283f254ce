// Experts that are alike, stored and run as a batch.
#pragma once
#include "nn/feed_forward.h"
#include "nn/moe/routing.h"

namespace moegrad {

/// What processes the slots of a routing.
struct Experts : Module {
  /// slots [G, P, D], sorted by expert as `routing` says -> [G, P, D]
  virtual Tensor forward(const Tensor& slots, const Routing& routing) const = 0;
};

/// y = w2_e a(w1_e x), or w2_e (a(w1_e x) * w3_e x) with a gated activation, for the expert e of each slot.
///   Shapes    w1, w3 [E, D, F], w2 [E, F, D], biases [E, F], [E, D]; shown in the state dictionary as
///             experts of PyTorch's Linear layers, "0.w1.weight" [F, D] and so on
///   Cost      one batched product per weight where every expert has C slots, one grouped product where they differ
///             (dropless)
///   Gradient  an expert without slots gets zeros
struct FeedForwardExperts : Experts {
  struct Options {
    i64 experts = 8;
    i64 hidden = 0;  ///< F; 0: 4 D
    Activation activation = Activation::gelu;
    bool bias = false;
    double output_gain = 1.0;  ///< of w2's initial weights, beside Linear's
    i64 active = -1;           ///< experts that one token uses, for the count of active parameters; -1: all
  };
  FeedForwardExperts(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& slots, const Routing& routing) const override;
  void members(Members& m) override;

  Options options;
  Tensor w1, b1, w2, b2, w3, b3;
};

}  // namespace moegrad
