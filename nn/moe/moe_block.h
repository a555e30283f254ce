// The mixture of moefy: any layer as expert, tokens or whole images routed, noise, and what was decided to look at.
#pragma once
#include <string>

#include "nn/moe/module_experts.h"
#include "nn/moe/noise.h"

namespace moegrad {

/// What a MoEBlock decided about B x S positions; S = 1 where whole images are routed. T = B S items, E experts with the
/// hole, which is the last.
struct BlockDecision {
  Routing routing;  ///< of the experts that run; one group
  Tensor picks;     ///< i64 [T, K]: experts that each item chose; expert choice: [E, K], items of each expert. -1: none
  Tensor auxiliary;  ///< unreduced, in training: [E], or [T] with expert choice. An empty handle where there is none
  i64 batch = 0;     ///< B
  bool experts_chose = false;

  Tensor routing_matrix() const;  ///< probabilities [B, S, E]
  Tensor masks() const;           ///< [E, B, S]: the gate of items that an expert has, else 0; with a gradient
  Tensor load() const;            ///< i64 [E, S]: how often position j of the batch went to expert e
  Tensor total_load() const;      ///< i64 [E]
  Tensor selected() const;        ///< bool [E, T]
};

/// scores = x expert_embs, with noise in training;  probabilities = softmax(scores);  every row picks its K best.
/// Rows are items, which choose experts, or experts, which choose items: then the softmax is over all items, and K is
/// the number of items per expert.
///   Shapes    x [G, N, D], routed as one group; expert_embs [D, E], of the experts and the hole if there is one
///   Gates     probabilities of what was picked, not renormalised; under SIMPLE noise 1, with the marginals' gradient
///   Hole      the last column. What is sent there takes no slot
///   Mask      masked items are picked by nobody, and neither probability nor loss is theirs. In expert choice they get
///             the score -1e30 and the probability 0
///   Losses    in training, one of
///               "balance_entropy"  log E - H(mean probabilities)
///               "load"             squared coefficient of variation of the smooth load (nn/moe/noise.h), gaussian noise
///               "l2_mass_entropy"  the sum of that (nn/moe/losses.h): moefy's, which rewards collapse
///             of the columns, which are items in expert choice. SIMPLE noise: of softmax(scores)
///   Records   "load" i64, slots in use
///   State     "expert_embs", orthogonal at first; for gaussian noise "routing_noise", and the buffers "mean" and "std"
///             of the standard normal, 0 and 1: kept as moefy has them, and not used
///   Errors    Error: k < 1, k above the number of experts; "load" without gaussian noise.  ShapeError: experts choose,
///             but there are no items
///   Source    Outrageously large neural networks (2017), arXiv:1701.06538; Mixture-of-experts with expert choice
///             routing (2022), arXiv:2202.09368, whose softmax is over experts. The class is TopkRouter of moefy
struct BlockRouter : Router {
  enum class Auxiliary { none, balance_entropy, load, l2_mass_entropy };
  struct Options {
    i64 experts = 8;  ///< without the hole
    i64 k = 1;        ///< at most as many as there are to choose from
    bool hole = false;
    bool expert_choice = false;
    RouterNoise::Options noise = {.kind = RouterNoiseKind::gaussian};
    Auxiliary auxiliary = Auxiliary::load;
    LoadOptions load = {};
  };
  BlockRouter(i64 width, Options options, Init& init);
  BlockDecision decide(const Tensor& x, const Tensor& mask, Context& context) const;
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Tensor expert_embs, mean, std;
  RouterNoise noise;
};

/// y_n = sum over the experts e that have item n of gate_en expert_e(x_n); mean: divided by the number of experts
/// (without the hole). Experts see the items they have, and nothing else is computed.
///   Tokens    x [.., S, D], every position is an item; expert e gets [1, its items, D]
///   Images    x [B, D, ..], every x_b is an item, routed by its mean over the axes after D; expert e gets
///             [1, its items, D, ..]
///   Shapes    y as x, but with the experts' width, or image, in place of x's
///   Mask      of tokens as x's leading axes, of images [B]: masked items get 0
///   Losses, records and errors as the router
///   State     "router.expert_embs", .., "experts.0.weight", ..
///   Source    the class MoEBlock of moefy, which runs every expert on all items, with zeros for those it does not have
struct MoEBlock : Layer {
  enum class Aggregation { sum, mean };
  enum class Route { tokens, images };
  struct Options {
    BlockRouter::Options router = {};
    Aggregation aggregation = Aggregation::sum;
    Route route = Route::tokens;
    i64 layer_id = -1;  ///< -1: none
  };
  /// Layers of any kind, one per expert (router.experts is their number); or experts that are batched.
  MoEBlock(i64 width, std::vector<std::unique_ptr<Layer>> experts, Options options, Init& init);
  MoEBlock(i64 width, std::unique_ptr<Experts> experts, Options options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  /// forward is these two.
  BlockDecision decide(const Tensor& x, Context& context) const;
  Tensor process(const Tensor& x, const BlockDecision& decision, Context& context) const;

  /// "layer 3/ MoEBlock (4 experts)", the hole counted; without an id "layer unk/ ..".
  std::string title() const;

  Options options;
  BlockRouter router;
  std::unique_ptr<Experts> experts;
};

}  // namespace moegrad
