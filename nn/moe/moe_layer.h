// The mixtures of pytorch-mixtures under the names of their weights. They are `MoE` with a router and experts.
#pragma once
#include "nn/moe/expert_choice_router.h"
#include "nn/moe/moe.h"

namespace moegrad {

/// Any router and any experts; capacities are per row.
///   State    the router's names begin with "router.", an expert's with "experts.experts.i."
///   Shapes, Mask, Gradient, Errors, Source as MoE
///   Source   pytorch-mixtures, first version: MoELayer. Its routers are
///              TopKRouter          capacity {factor, tokens}, gates not renormalised
///              ExpertChoiceRouter  capacity {factor, tokens}, gates over experts
///              SoftRouter          floor(N / E) slots, combine experts_then_slots, nothing normalised
///            all with the gate's weight "weights.w_gate" by columns. Theirs begins as normal numbers of deviation 1,
///            which saturates the softmax; ours is Linear's
struct MoELayer : MoE {
  using MoE::MoE;
  void members(Members& m) override;
};

/// What TopkMoE and ExpertChoiceMoE have in common.
struct MixtureOptions {
  i64 experts = 8;
  i64 hidden = 0;  ///< F; 0: 4 D
  Activation activation = Activation::silu;
  /// false: w2 a(w1 x + b1) + b2, weights "up" and "down".  true, or a gated activation: w2 (a(g) * u) + b2 with g and u
  /// the halves of w1 x, weights "gate_up" without a bias and "down". The project's gated expert has sizes that do not
  /// fit each other; here gate_up is [2 F, D].
  bool gated = false;
};

/// Every token goes to its k best experts, whatever their load; gates = softmax over the k logits.
///   Shapes   as MoE. Router "weight" [D, E]; experts "experts.i.up.weight" and so on
///   Mask, Gradient, Errors  as MoE and TopKRouter.  Losses: load_balancing, router_z
///   Source   pytorch-mixtures, newest version: TopkMoE
struct TopkMoE : MoE {
  TopkMoE(i64 width, MixtureOptions options, i64 k, Init& init);
  void members(Members& m) override;
};

/// Every expert picks C = min(T, floor(factor T / E)) of all T tokens of the batch by their logits; gates = softmax over
/// the tokens it picked.
///   Shapes, Mask, Gradient, Errors  as TopkMoE and ExpertChoiceRouter.  Losses: router_z
///   Source   pytorch-mixtures, newest version: ExpertChoiceMoE. The paper's gates are over experts
struct ExpertChoiceMoE : MoE {
  ExpertChoiceMoE(i64 width, MixtureOptions options, double capacity_factor, Init& init);
  void members(Members& m) override;
};

}  // namespace moegrad
