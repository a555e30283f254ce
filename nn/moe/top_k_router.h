// The router of Shazeer et al., GShard, Switch and Mixtral: every token chooses its k best experts.
#pragma once
#include "nn/moe/capacity.h"
#include "nn/moe/losses.h"
#include "nn/moe/noise.h"
#include "nn/moe/router_gate.h"

namespace moegrad {

/// logits = x w^T, with noise in training;  probabilities = softmax(logits);  chosen = top_k(logits, K);
/// gates = probabilities at the chosen experts.
///   Shapes    x [G, N, D]; weight [E, D]
///   Dropless  capacity 0: every choice gets a slot, P = N K, sorted by expert. The groups are routed as one
///   Capacity  C slots per expert and group (nn/moe/capacity.h): first choices before second ones, tokens by their
///             priority; choices that find their expert full are dropped: that token gets nothing from that expert
///   Ties      the expert with the lower number wins
///   Mask      masked tokens choose nothing. C is that of all N tokens, masked or not
///   Noise     nn/moe/noise.h; under `simple` the subset that was drawn is what tokens choose
///   Precision logits, softmax, gates and losses are f32 or wider; `combine` has the gates rounded to the dtype of x
///   Losses    nn/moe/losses.h: "load_balancing" and "router_z", and others on request. router_z and token_entropy
///             are of the clean logits, the others of the noisy ones, under `simple` of the subset over K (sum 1)
///   Records   "load" i64 [E], slots in use; "dropped" i64 [], choices without a slot
///   Source    Outrageously large neural networks (2017), arXiv:1701.06538, section 2.1; GShard (2020),
///             arXiv:2006.16668, Algorithm 1; renormalised gates as in Mixtral of experts (2024), arXiv:2401.04088,
///             equation of section 2.1.  pytorch-mixtures: TopkRouter (first version), TopkMoE (newest)
///   Errors    Error: k outside [1, experts], a negative capacity.  ShapeError, DTypeError: x or mask is another
struct TopKRouter : Router {
  struct Options {
    i64 experts = 8;
    i64 k = 2;
    Capacity capacity = {};  ///< dropless, if neither factor nor slots are given
    Priority priority = Priority::first_come;
    /// Gates of a token sum to 1 (before dropping), which is softmax over its chosen logits; else they are the
    /// probabilities themselves.
    bool renormalize = true;
    RouterNoise::Options noise = {};
    RouterLosses losses = {};
    RouterGate::Options gate = {};
  };
  TopKRouter(i64 width, Options options, Init& init);
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;
  bool dropless() const { return options.capacity.factor == 0 && options.capacity.slots == 0; }

  Options options;
  RouterGate gate;
  RouterNoise noise;

 private:
  Slots slots_of(const Tensor& chosen, const Tensor& scores, Context& context) const;
  void report(const Routing& r, const Tensor& gates, const NoisyScores& scores, const Tensor& mask,
              Context& context) const;
};

}  // namespace moegrad
