// Do sparse mixtures cost as much per token however many there are? Forward and backward of one layer at fixed width
// while the number of tokens N doubles from 1k to 64k. Linear is 2 per doubling; a tenth more is allowed for caches.
//
//   bench_routing_scale            prints a table: milliseconds, peak bytes per token, and the ratio to half as many tokens
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

constexpr i64 kWidth = 128, kHidden = 512, kExperts = 8;

struct Layer8 {
  const char* name;
  std::function<std::unique_ptr<MoE>(Init&)> make;
};

std::unique_ptr<MoE> top_k_layer(Init& init, double capacity) {
  return make_moe(kWidth, {.experts = kExperts, .k = 2, .capacity_factor = capacity, .hidden = kHidden}, init);
}
std::unique_ptr<MoE> expert_choice_layer(Init& init) {
  auto router = std::make_unique<ExpertChoiceRouter>(kWidth, ExpertChoiceRouter::Options{.experts = kExperts}, init);
  auto experts = std::make_unique<FeedForwardExperts>(
      kWidth, FeedForwardExperts::Options{.experts = kExperts, .hidden = kHidden}, init);
  return std::make_unique<MoE>(std::move(router), std::move(experts));
}

struct Measured {
  double milliseconds, bytes_per_token;
};

// The fastest of some steps: the first of them asks the system for its memory, later ones find it in the cache.
Measured step(MoE& moe, i64 tokens) {
  memory::release_cache();  // blocks of other sizes would fill it
  const Tensor x = random_normal({1, tokens, kWidth}, 0, 1, Random(2).next()).requires_grad_();
  const i64 before = memory::stats().current_bytes;
  memory::reset_peak();
  Measured m{1e300, 0};
  for (int i = 0; i < 7; ++i) {
    const auto start = std::chrono::steady_clock::now();
    Context context;
    const Tensor y = moe.forward(x, context);
    Tensor loss = sum(square(y));
    for (const auto& [name, value] : context.losses) loss = loss + value;
    benchmark::DoNotOptimize(grad(loss, moe.parameters()));
    m.milliseconds = std::min(
        m.milliseconds, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  m.bytes_per_token = static_cast<double>(memory::stats().peak_bytes - before) / static_cast<double>(tokens);
  return m;
}

}  // namespace

int main() {
  const Layer8 layers[] = {{"top-2, capacity 1.25", [](Init& i) { return top_k_layer(i, 1.25); }},
                           {"top-2, dropless", [](Init& i) { return top_k_layer(i, 0); }},
                           {"expert choice", expert_choice_layer}};
  fmt::print(
      "| router | tokens | ms | time / half | peak bytes per token | peak / half |\n|---|---|---|---|---|---|\n");
  for (const Layer8& layer : layers) {
    Random random(1);
    Init init(random);
    const std::unique_ptr<MoE> moe = layer.make(init);
    Measured last{};
    for (i64 tokens = 1024; tokens <= 65536; tokens *= 2) {
      const Measured m = step(*moe, tokens);
      if (tokens == 1024)
        fmt::print("| {} | {} | {:.2f} | | {:.0f} | |\n", layer.name, tokens, m.milliseconds, m.bytes_per_token);
      else
        fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.0f} | {:.2f} |\n", layer.name, tokens, m.milliseconds,
                   m.milliseconds / last.milliseconds, m.bytes_per_token, 2 * m.bytes_per_token / last.bytes_per_token);
      last = m;
    }
  }
  return 0;
}
