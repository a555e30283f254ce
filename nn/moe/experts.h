// Experts that are alike, stored and run as a batch. nn/moe/module_experts.h has experts of any kind.
#pragma once
#include "nn/dropout.h"
#include "nn/feed_forward.h"
#include "nn/moe/routing.h"

namespace moegrad {

/// What processes the slots of a routing.
struct Experts : Module {
  /// slots [G, P, D], sorted by expert as `routing` says -> [G, P, D'] with D' = D for most kinds
  virtual Tensor forward(const Tensor& slots, const Routing& routing, Context& context) const = 0;
};

/// y = w_e x + b_e for the expert e of each slot.
///   Shapes    weight [E, in, out], bias [E, out] or absent; shown in the state dictionary as PyTorch's Linear layers
///             "0.weight" [out, in], "0.bias", ..
///   Cost      one batched product where every expert has C slots, one grouped product where they differ (dropless)
///   Gradient  an expert without slots gets zeros
///   Errors    Error: experts < 1.  ShapeError: the routing has another number of experts
struct LinearExperts : Experts {
  struct Options {
    i64 experts = 8;
    i64 out = 0;  ///< 0: the width of x
    bool bias = true;
    double gain = 0.57735026918962576;  ///< of the initial weights, as Linear's
    i64 active = -1;                    ///< experts that one token uses, for the count of active parameters; -1: all
  };
  LinearExperts(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& slots, const Routing& routing, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Tensor weight, bias;
};

/// y = w2_e a(w1_e x), or with a gate w2_e (a(w1_e x) * w3_e x), for the expert e of each slot.
///   Shapes    w1, w3 [E, D, F], w2 [E, F, D'], biases [E, F], [E, D']; shown in the state dictionary as
///             experts of PyTorch's Linear layers, "0.w1.weight" [F, D] and so on
///   Gates     separate: w1 and w3 as above.  first, second: w1 [E, D, 2 F] gives gate and value side by side; the half
///             named is the gate, to which the activation is applied
///   Cost      as LinearExperts, once per weight
///   Gradient  an expert without slots gets zeros
///   Errors    as LinearExperts.  Error: a gate in half of w1, but neither `gated` nor a gated activation
struct FeedForwardExperts : Experts {
  enum class Gate { separate, first, second };
  struct Names {  ///< in the state dictionary, after the expert's number
    const char *w1 = "w1", *w2 = "w2", *w3 = "w3", *value_scale = "value_scale";
  };
  struct Options {
    i64 experts = 8;
    i64 hidden = 0;  ///< F; 0: 4 D
    i64 out = 0;     ///< D'; 0: D
    Activation activation = Activation::gelu;
    bool gated = false;        ///< with a gate, a being the activation; one that is gated has a gate without this
    bool bias = false;         ///< of w1 and w3
    bool output_bias = false;  ///< of w2
    Gate gate = Gate::separate;
    bool value_scale = false;   ///< a learned factor [E, F] of the gated product, ones at first
    double dropout = 0;         ///< of the hidden values, in training
    double output_dropout = 0;  ///< of what the experts give, in training
    double output_gain = 1.0;   ///< of w2's initial weights, beside Linear's
    i64 active = -1;            ///< experts that one token uses, for the count of active parameters; -1: all
    Names names = {};
  };
  FeedForwardExperts(i64 width, Options options, Init& init);
  Tensor forward(const Tensor& slots, const Routing& routing, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Tensor w1, b1, w2, b2, w3, b3;
  Tensor value_scale;
  Dropout hidden_dropout, output_dropout;
};

}  // namespace moegrad
