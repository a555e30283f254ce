// Mixture of depths: only some tokens pass a block, the others go around it.
#pragma once
#include "nn/moe/expert_choice_router.h"

namespace moegrad {

/// The router picks the C tokens of each row that the block processes, together; gates carry its gradient.
///   y_n = x_n + gate_n block(picked)_n for picked tokens, y_n = x_n for the others
///   Shapes    x [B, N, D] -> y, same shape. The block sees [B, C, D], picked tokens in order of their positions
///   Block     any layer; it is the function without its residual path, f in the paper
///   Mask      of the context, bool [B, N]: masked tokens are never picked and stay as they are. The block's own
///             context then has a mask of the slots in use
///   Gates     nn/moe/expert_choice_router.h: the logit, the paper's; with one expert over_experts is 1 for all, picks
///             the first C tokens, and gives the router no gradient
///   Causality none: whether a token is picked depends on those behind it
///   Losses    "router_z", and others on request.  Records: "load" i64 [1], "dropped" i64 []: tokens that go around
///   Errors    as ExpertChoiceRouter; ShapeError: x is not [B, N, D], the block does not keep the shape of its slots
///   Source    Mixture-of-depths (2024), arXiv:2404.02258, equation 1.  pytorch-mixtures, first version: MoDLayer, with
///             gates over_experts, no residual path and tokens in order of their gates
struct MoDLayer : Layer {
  struct Options {
    /// The paper's 12.5 %, floor(factor N), but one at least.
    Capacity capacity = {.factor = 0.125, .rule = Capacity::Rule::tokens, .least = 1};
    ChoiceGates gates = ChoiceGates::logits;
    bool residual = true;  ///< false: y_n = gate_n block(picked)_n, and 0 for the others
    bool in_order = true;
    RouterNoise::Options noise = {};
    RouterLosses losses = {.load_balancing = false};
    RouterGate::Options gate = {};
    const char* block_name = "block";  ///< in the state dictionary, beside "router"
  };
  MoDLayer(i64 width, std::unique_ptr<Layer> block, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  /// forward is these two: what the router decides, and what a routing does with x.
  Routing route(const Tensor& x, Context& context) const;
  Tensor process(const Tensor& x, const Routing& routing, Context& context) const;

  Options options;
  ExpertChoiceRouter router;
  std::unique_ptr<Layer> block;
};

}  // namespace moegrad
