// The router of Shazeer et al., GShard, Switch and Mixtral: every token chooses its k best experts.
#pragma once
#include "nn/linear.h"
#include "nn/moe/routing.h"

namespace moegrad {

/// probabilities = softmax(x w^T);  chosen = top_k(probabilities, K);  gates = probabilities at the chosen experts.
///   Shapes    x [G, N, D]; weight [E, D]
///   Dropless  capacity_factor = 0: every choice gets a slot, P = N K, sorted by expert. The groups are routed as one
///   Capacity  C = ceil(capacity_factor N K / E) slots per expert and group; first choices before second ones, tokens
///             in order; choices that find their expert full are dropped: that token gets nothing from that expert
///   Ties      the expert with the lower number wins
///   Precision logits, softmax, gates and losses are f32 or wider; `combine` has the gates rounded to the dtype of x
///   Losses    "load_balancing" and "router_z" (nn/moe/losses.h), unweighted
///   Records   "load" i64 [E], slots in use; "dropped" i64 [], choices without a slot
///   Source    Outrageously large neural networks (2017), arXiv:1701.06538, section 2.1, without noise; GShard (2020),
///             arXiv:2006.16668, Algorithm 1; renormalised gates as in Mixtral of experts (2024), arXiv:2401.04088,
///             equation of section 2.1
///   Errors    Error: k outside [1, experts], capacity_factor negative
struct TopKRouter : Router {
  struct Options {
    i64 experts = 8;
    i64 k = 2;
    double capacity_factor = 0;  ///< 0: dropless
    bool renormalize =
        true;  ///< gates of a token sum to 1 (before dropping); else they are the probabilities themselves
  };
  TopKRouter(i64 width, Options options, Init& init);
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Linear gate;
};

}  // namespace moegrad
