// Sparse mixtures make nothing of the size of a dense dispatch, tokens x experts x capacity, forward or backward.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "core/memory.h"
#include "nn/moegrad.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr i64 kGroups = 2, kTokens = 512, kWidth = 8, kExperts = 8;

// The largest storage of a training step, in elements: the layer with all of its losses, and all gradients.
i64 largest_of_step(Module& layer, const std::function<Tensor(const Tensor&, Context&)>& forward, const Tensor& mask) {
  const Tensor x = random_tensor({kGroups, kTokens, kWidth}, 3, -1, 1, DType::f32).requires_grad_();
  Random random(5);
  Context context{.training = true, .random = &random, .mask = mask};
  memory::AllocationLog log;
  Tensor loss = sum(square(forward(x, context)));
  for (const auto& [name, value] : context.losses) loss = loss + value;
  std::vector<Tensor> leaves{x};
  for (const Tensor& p : layer.parameters()) leaves.push_back(p);
  grad(loss, leaves);
  return log.largest();
}

std::unique_ptr<Experts> experts_of(Init& init) {
  return std::make_unique<FeedForwardExperts>(kWidth, FeedForwardExperts::Options{.experts = kExperts, .hidden = 16},
                                              init);
}

struct Row {
  std::string name;
  std::function<std::unique_ptr<Layer>(Init&)> make;
  i64 capacity;  // slots of an expert
};

std::vector<Row> rows() {
  std::vector<Row> list;
  for (const Priority priority : {Priority::first_come, Priority::best_gate, Priority::random})
    list.push_back(
        {fmt::format("top-2, priority {}", static_cast<int>(priority)),
         [priority](Init& init) {
           const TopKRouter::Options o{
               .experts = kExperts, .capacity = {.factor = 1}, .priority = priority, .losses = {.importance = true}};
           return std::make_unique<MoE>(std::make_unique<TopKRouter>(kWidth, o, init), experts_of(init));
         },
         kTokens * 2 / kExperts});
  list.push_back({"top-2, dropless",
                  [](Init& init) {
                    return std::make_unique<MoE>(
                        std::make_unique<TopKRouter>(kWidth, TopKRouter::Options{.experts = kExperts}, init),
                        experts_of(init));
                  },
                  kTokens * 2 / kExperts});
  list.push_back({"expert choice",
                  [](Init& init) {
                    const ExpertChoiceRouter::Options o{.experts = kExperts};
                    return std::make_unique<MoE>(std::make_unique<ExpertChoiceRouter>(kWidth, o, init),
                                                 experts_of(init));
                  },
                  kTokens * 2 / kExperts});
  for (const bool expert_choice : {false, true})
    list.push_back({expert_choice ? "MoEBlock, expert choice" : "MoEBlock",
                    [expert_choice](Init& init) {
                      MoEBlock::Options o{.router = {.experts = kExperts, .k = 2, .expert_choice = expert_choice}};
                      if (expert_choice) o.router.k = kTokens * kGroups * 2 / kExperts;
                      return std::make_unique<MoEBlock>(kWidth, experts_of(init), o, init);
                    },
                    kTokens * 2 / kExperts});
  list.push_back({"ST-MoE",
                  [](Init& init) {
                    StMoE::Options o;
                    o.router.experts = kExperts;
                    return std::make_unique<StMoE>(kWidth, o, init);
                  },
                  kTokens / kExperts});
  return list;
}

}  // namespace

TEST_CASE("mixtures: a sparse one never makes tokens x experts x capacity elements") {
  for (const Row& row : rows())
    for (const bool masked : {false, true}) {
      CAPTURE(row.name);
      CAPTURE(masked);
      Random random(1);
      Init init(random);
      const std::unique_ptr<Layer> layer = row.make(init);
      const Tensor mask = masked ? gt(random_tensor({kGroups, kTokens}, 4), scalar(-0.5, DType::f64)) : Tensor{};
      const i64 largest = largest_of_step(
          *layer, [&](const Tensor& x, Context& c) { return layer->forward(x, c); }, mask);
      CHECK_GE(largest, kGroups * kTokens * kWidth);  // x itself: the log does see
      CHECK_LT(largest, kTokens * kExperts * row.capacity / 4);
    }
}

TEST_CASE("mixtures: the measure sees a dense dispatch") {
  Random random(1);
  Init init(random);
  const TopKRouter::Options o{.experts = kExperts, .capacity = {.factor = 1}};
  MoE layer(std::make_unique<TopKRouter>(kWidth, o, init), experts_of(init));
  const i64 largest = largest_of_step(layer,
                                      [&](const Tensor& x, Context& c) {
                                        Routing r = layer.route(x, c);
                                        r.combine = dense(r.combine);
                                        return layer.process(x, r, c);
                                      },
                                      {});
  CHECK_GE(largest, kTokens * kExperts * (kTokens * 2 / kExperts));
}

TEST_CASE("mixture of depths: nothing of tokens x capacity elements") {
  Random random(1);
  Init init(random);
  const MoDLayer::Options o{.capacity = {.factor = 0.5, .rule = Capacity::Rule::tokens}};
  MoDLayer layer(kWidth, std::make_unique<FeedForward>(kWidth, FeedForward::Options{.hidden = 16}, init), o, init);
  const i64 largest = largest_of_step(layer, [&](const Tensor& x, Context& c) { return layer.forward(x, c); }, {});
  CHECK_LT(largest, kTokens * kTokens / 2 / 8);
}
