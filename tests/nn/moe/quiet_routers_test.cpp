#include "nn/moe/quiet_routers.h"

#include <doctest/doctest.h>

#include "nn/moegrad.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::unique_ptr<MoE> moe_with(RouterNoiseKind kind) {
  Random random(5);
  Init init(random);
  auto router = std::make_unique<TopKRouter>(6,
                                             TopKRouter::Options{.experts = 4,
                                                                 .k = 2,
                                                                 .capacity = {.factor = 1},
                                                                 .priority = Priority::random,
                                                                 .noise = {.kind = kind, .amount = 0.5}},
                                             init);
  return std::make_unique<MoE>(std::move(router), std::make_unique<FeedForwardExperts>(
                                                      6, FeedForwardExperts::Options{.experts = 4, .hidden = 5}, init));
}

struct Pass {
  Tensor y, dropped;
  u32 drawn = 0;
};

// A mixture and dropout behind it.
Pass run(const MoE& moe) {
  Random random(9);
  const Tensor x = random_normal({2, 7, 6}, 0, 1, Random(1).next());
  Context context{.training = true, .random = &random};
  const Tensor y = moe.forward(x, context);
  return {y, Dropout(0.5).forward(ones({64}), context), random.drawn()};
}

}  // namespace

TEST_CASE("quiet routers: noise does nothing, and all other random numbers stay") {
  for (const RouterNoiseKind kind : {RouterNoiseKind::gumbel, RouterNoiseKind::gaussian, RouterNoiseKind::jitter}) {
    CAPTURE(static_cast<int>(kind));
    const auto moe = moe_with(kind);
    const Pass noisy = run(*moe);
    const Pass silent = [&] {
      const QuietRouters quiet;
      return run(*moe);
    }();
    CHECK(difference(noisy.y, silent.y) > 0);
    CHECK(difference(noisy.dropped, silent.dropped) == 0);
    CHECK(noisy.drawn == silent.drawn);
    CHECK(difference(run(*moe).y, noisy.y) == 0);  // it ends with the scope
    // a router with another draw of its noise is as silent
    const QuietRouters quiet;
    Random random(9);
    Context context{.random = &random};
    CHECK(difference(router_noise(context, Noise::gumbel, {3}, DType::f64), zeros({3}, DType::f64)) == 0);
    CHECK(difference(router_noise(context, Noise::uniform, {3}, DType::f32), full({3}, 0.5)) == 0);
    CHECK(random.drawn() == 2);
  }
}

TEST_CASE("quiet routers: the pass is that of a router without noise") {
  Random random(3);
  Init init(random);
  const Tensor x = random_normal({1, 9, 6}, 0, 1, random.next());
  const auto output = [&](RouterNoiseKind kind) {
    auto moe = moe_with(RouterNoiseKind::none);
    auto& router = static_cast<TopKRouter&>(*moe->router);
    router.options.priority = Priority::first_come;
    router.noise.options = {.kind = kind, .amount = 0.5};
    if (kind == RouterNoiseKind::gaussian) router.noise.weight = zeros({6, 4});
    Context context{.training = true, .random = &random};
    return moe->forward(x, context);
  };
  const Tensor plain = output(RouterNoiseKind::none);
  for (const RouterNoiseKind kind : {RouterNoiseKind::gumbel, RouterNoiseKind::gaussian, RouterNoiseKind::jitter}) {
    CHECK(difference(output(kind), plain) > 0);
    const QuietRouters quiet;
    CHECK(difference(output(kind), plain) == 0);
  }
}

TEST_CASE("quiet routers: soft routers and st-moe are quiet, too") {
  Random random(4);
  Init init(random);
  const Tensor x = random_normal({2, 6, 4}, 0, 1, random.next());
  const SoftMoE soft(4, {.num_experts = 2, .num_slots = 2, .noise = {.factor = 1}}, init);
  StMoE::Options st_options{};
  st_options.router.experts = 4;
  st_options.router.gate_noise = 3;
  const StMoE st(4, st_options, init);
  for (const Layer* layer : {static_cast<const Layer*>(&soft), static_cast<const Layer*>(&st)}) {
    const auto output = [&](u64 seed) {
      Random own(seed);
      Context context{.training = true, .random = &own};
      return layer->forward(x, context);
    };
    CHECK(difference(output(1), output(2)) > 0);
    const QuietRouters quiet;
    CHECK(difference(output(1), output(2)) == 0);
  }
}
