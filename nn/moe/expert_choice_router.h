// The router in which experts choose tokens.
#pragma once
#include "nn/moe/capacity.h"
#include "nn/moe/losses.h"
#include "nn/moe/noise.h"
#include "nn/moe/router_gate.h"

namespace moegrad {

/// What an expert multiplies the token it picked with.
enum class ChoiceGates {
  over_experts,  ///< softmax over experts, as in the paper; experts pick by it, too
  over_tokens,   ///< softmax over the tokens of the group, for each expert
  over_picked,   ///< softmax over the tokens that the expert picked
  sigmoid,       ///< 1 / (1 + e^-logit)
  logits,        ///< the logit itself
};

/// logits = x w^T, with noise in training;  S = softmax(logits) over experts;  picked_e = top_k(S_.e, C), the C tokens of
/// the group that suit expert e best;  gates = S at the picked tokens, or as `gates` says.
///   Shapes    x [G, N, D]; C = min(N, capacity). Groups are rows of a batch; MoE::one_group makes them one
///   Slots     of an expert: best first, or `in_order` of positions. Picks do not come twice, so an expert that can find
///             only fewer tokens has empty slots at the end
///   Ties      the token with the lower position wins
///   Mask      masked tokens are never picked, and no softmax runs over them. C is that of all N tokens
///   Noise     nn/moe/noise.h, but not `simple`; numbers are drawn [G, E, N]
///   Precision as TopKRouter
///   Causality none: whether a token is picked depends on those behind it
///   Losses    "router_z", and others on request, but load_balancing: loads are equal. balance_entropy needs gates over
///             experts. router_z and token_entropy are of the clean logits
///   Records   "load" i64 [E], slots in use; "dropped" i64 [], tokens that no expert picked
///   Source    Mixture-of-experts with expert choice routing (2022), arXiv:2202.09368, section 3.2.  pytorch-mixtures:
///             ExpertChoiceRouter (first version; over_experts), ExpertChoiceMoE (newest; over_picked, one group).
///             moefy: expert_choice (over_tokens, one group)
///   Errors    Error: experts < 1, a negative capacity, a loss or noise that it cannot have.  ShapeError, DTypeError: x
///             or mask is another
struct ExpertChoiceRouter : Router {
  struct Options {
    i64 experts = 8;
    Capacity capacity = {.factor = 2};  ///< for one choice per token: factor experts pick a token on average
    ChoiceGates gates = ChoiceGates::over_experts;
    bool in_order = false;
    RouterNoise::Options noise = {};
    RouterLosses losses = {.load_balancing = false};
    RouterGate::Options gate = {};
  };
  ExpertChoiceRouter(i64 width, Options options, Init& init);
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;

  Options options;
  RouterGate gate;
  RouterNoise noise;

 private:
  Tensor with_noise(const Tensor& input, const Tensor& scores, Context& context) const;
  Tensor pick(const Tensor& affinity, const Tensor& mask) const;
};

}  // namespace moegrad
