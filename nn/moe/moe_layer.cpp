#include "nn/moe/moe_layer.h"

namespace moegrad {
namespace {

constexpr RouterGate::Options kGate{.columns = true, .weight = "weight"};

std::unique_ptr<Experts> experts_of(i64 width, const MixtureOptions& o, i64 active, Init& init) {
  const bool gated = o.gated || is_gated(o.activation);
  return std::make_unique<FeedForwardExperts>(
      width,
      FeedForwardExperts::Options{.experts = o.experts,
                                  .hidden = o.hidden,
                                  .activation = o.activation,
                                  .gated = o.gated,
                                  .bias = !gated,
                                  .output_bias = true,
                                  .gate = gated ? FeedForwardExperts::Gate::first : FeedForwardExperts::Gate::separate,
                                  .active = active,
                                  .names = {.w1 = gated ? "gate_up" : "up", .w2 = "down"}},
      init);
}

}  // namespace

void MoELayer::members(Members& m) { members_as(m, "router", "experts.experts"); }

TopkMoE::TopkMoE(i64 width, MixtureOptions o, i64 k, Init& init)
    : MoE(std::make_unique<TopKRouter>(width, TopKRouter::Options{.experts = o.experts, .k = k, .gate = kGate}, init),
          experts_of(width, o, k, init)) {}

void TopkMoE::members(Members& m) { members_as(m, "", "experts"); }

ExpertChoiceMoE::ExpertChoiceMoE(i64 width, MixtureOptions o, double capacity_factor, Init& init)
    : MoE(std::make_unique<ExpertChoiceRouter>(
              width,
              ExpertChoiceRouter::Options{.experts = o.experts,
                                          .capacity = {.factor = capacity_factor, .rule = Capacity::Rule::tokens},
                                          .gates = ChoiceGates::over_picked,
                                          .gate = kGate},
              init),
          experts_of(width, o, -1, init)) {
  one_group = true;
}

void ExpertChoiceMoE::members(Members& m) { members_as(m, "", "experts"); }

}  // namespace moegrad
