// How close mixtures come to their bare matrix products: forward and backward of a layer beside the products that its
// mathematics needs, at the same shapes, in one run. The aim is 0.85.
//
//   bench_moe_layers
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

constexpr i64 kTokens = 4096, kWidth = 256, kHidden = 1024, kExperts = 8, kGroups = 8, kSlots = 64;

double milliseconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

struct Mixture {
  const char* name;
  i64 groups, slots;  // slots of an expert, of all groups together
  bool soft;
  std::function<std::unique_ptr<Router>(Init&)> router;
};

const Mixture kMixtures[] = {
    {"top-2, capacity 1.25", 1, 1280, false,
     [](Init& init) {
       return std::make_unique<TopKRouter>(
           kWidth, TopKRouter::Options{.experts = kExperts, .capacity = {.factor = 1.25}}, init);
     }},
    {"top-2, capacity 1.25, 8 groups", kGroups, 1280, false,
     [](Init& init) {
       return std::make_unique<TopKRouter>(
           kWidth, TopKRouter::Options{.experts = kExperts, .capacity = {.factor = 1.25}}, init);
     }},
    {"top-2, dropless", 1, 1024, false,
     [](Init& init) { return std::make_unique<TopKRouter>(kWidth, TopKRouter::Options{.experts = kExperts}, init); }},
    {"expert choice", 1, 1024, false,
     [](Init& init) {
       return std::make_unique<ExpertChoiceRouter>(kWidth, ExpertChoiceRouter::Options{.experts = kExperts}, init);
     }},
    {"soft, 8 groups", kGroups, kSlots* kGroups, true, [](Init& init) {
       return std::make_unique<SoftRouter>(kWidth, SoftRouter::Options{.experts = kExperts, .slots = kSlots}, init);
     }}};

// The products of a step: experts' two, forward and twice backward; for a soft router those with its weights [N, P] of
// every group, too: logits, slots and outputs, each forward and twice backward.
std::function<void()> products_of(const Mixture& l, Random& random) {
  const auto normal = [&](const Shape& shape) { return random_normal(shape, 0, 1, random.next()); };
  const Tensor x = normal({kExperts, l.slots, kWidth}), h = normal({kExperts, l.slots, kHidden}),
               w1 = normal({kExperts, kWidth, kHidden}), w2 = normal({kExperts, kHidden, kWidth});
  const i64 N = kTokens / l.groups, P = kExperts * kSlots;
  const Tensor tokens = normal({l.groups, N, kWidth}), weights = normal({l.groups, N, P}), phi = normal({kWidth, P});
  return [=] {
    matmul(x, w1), matmul(h, w2);
    matmul(h, transpose(w1)), matmul(x, transpose(w2));
    matmul(transpose(x), h), matmul(transpose(h), x);
    if (!l.soft) return;
    const Tensor slots = matmul(transpose(weights), tokens);               // dispatch; [G, P, D]
    matmul(weights, slots), matmul(tokens, phi);                           // combine, logits
    matmul(tokens, transpose(slots)), matmul(weights, slots);              // of dispatch
    matmul(tokens, transpose(slots)), matmul(transpose(weights), tokens);  // of combine
    matmul(weights, transpose(phi)), matmul(transpose(flatten(tokens, 0, 1)), flatten(weights, 0, 1));  // of logits
  };
}

}  // namespace

int main() {
  fmt::print("{} tokens, D {}, F {}, E {}; forward and backward in f32\n\n", kTokens, kWidth, kHidden, kExperts);
  fmt::print("| layer | ms | its products, ms | fraction |\n|---|---|---|---|\n");
  for (const Mixture& l : kMixtures) {
    Random random(1);
    Init init(random);
    MoE moe(l.router(init), std::make_unique<FeedForwardExperts>(
                                kWidth, FeedForwardExperts::Options{.experts = kExperts, .hidden = kHidden}, init));
    const Tensor x = random_normal({l.groups, kTokens / l.groups, kWidth}, 0, 1, random.next()).requires_grad_();
    std::vector<Tensor> leaves{x};
    for (const Tensor& p : moe.parameters()) leaves.push_back(p);
    const auto step = [&] {
      Context context;
      Tensor loss = sum(moe.forward(x, context));
      for (const auto& [name, value] : context.losses) loss = loss + value;
      benchmark::DoNotOptimize(grad(loss, leaves));
    };
    const std::function<void()> products = products_of(l, random);
    double of_step = 1e300, of_products = 1e300;
    for (int i = 0; i < 12; ++i) {  // in turn, so that both meet the same machine
      of_step = std::min(of_step, milliseconds(step));
      of_products = std::min(of_products, milliseconds(products));
    }
    fmt::print("| {} | {:.1f} | {:.1f} | {:.2f} |\n", l.name, of_step, of_products, of_products / of_step);
  }
  return 0;
}
