#include "nn/inspect/routing_map.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/inspect/figures.h"
#include "nn/moegrad.h"

using namespace moegrad;

namespace {

struct Seen {
  RoutingMaps maps;
  Tensor y;
};

template <class L> Seen look(const L& layer, const Tensor& x, const Tensor& mask = {}) {
  Seen seen;
  Context context{.mask = mask, .watch = &seen.maps};
  const Inside here(context, "blocks", 2);
  seen.y = layer.forward(x, context);
  return seen;
}

double total(const RoutingMap& m, i64 g, i64 n) {
  double sum = 0;
  for (i64 e = 0; e < m.experts; ++e) sum += m.weight_of(g, n, e);
  return sum;
}

}  // namespace

TEST_CASE("routing map: top-k with capacity, by hand: who holds which token, with which gate, and what was dropped") {
  Random random(1);
  Init init(random);
  auto router = std::make_unique<TopKRouter>(
      2, TopKRouter::Options{.experts = 2, .k = 1, .capacity = {.slots = 1}, .renormalize = false}, init);
  router->gate.weight = tensor({{1.0f, 0.0f}, {0.0f, 1.0f}});
  const MoE moe(std::move(router),
                std::make_unique<FeedForwardExperts>(2, FeedForwardExperts::Options{.experts = 2, .hidden = 3}, init));
  // tokens 0 and 1 want expert 0, which has one slot; token 2 wants expert 1
  const Seen seen = look(moe, tensor({{{2.0f, 0.0f}, {1.0f, 0.0f}, {0.0f, 3.0f}}}));
  REQUIRE(seen.maps.all().size() == 1);
  const RoutingMap& m = seen.maps.of("blocks.2");
  CHECK(m.groups == 1);
  CHECK(m.tokens == 3);
  CHECK(m.experts == 2);
  CHECK_FALSE(m.soft);
  CHECK(m.load == std::vector<i64>{1, 1});
  CHECK(m.dropped == 1);
  CHECK(m.choices == 3);
  CHECK(m.strongest(0, 0) == 0);
  CHECK(m.strongest(0, 1) == -1);
  CHECK(m.strongest(0, 2) == 1);
  CHECK(m.weight_of(0, 0, 0) == doctest::Approx(1 / (1 + std::exp(-2.0))));
  CHECK(m.weight_of(0, 1, 0) == 0);
  const auto h = [](double z) {
    const double p = 1 / (1 + std::exp(-z));
    return -p * std::log(p) - (1 - p) * std::log(1 - p);
  };
  CHECK(m.entropy == doctest::Approx((h(2) + h(1) + h(3)) / 3));
}

TEST_CASE("routing map: dropless gates sum to 1 for every token and loads to N K") {
  Random random(2);
  Init init(random);
  const auto moe = make_moe(4, {.experts = 5, .k = 2, .hidden = 3}, init);
  const RoutingMap m = look(*moe, random_normal({2, 7, 4}, 0, 1, random.next())).maps.of("blocks.2");
  CHECK(m.groups * m.tokens == 14);
  i64 load = 0;
  for (const i64 v : m.load) load += v;
  CHECK(load == 28);
  for (i64 n = 0; n < 14; ++n) CHECK(total(m, 0, n) == doctest::Approx(1));
  CHECK(m.dropped == 0);
  CHECK(m.choices == 28);
}

TEST_CASE("routing map: soft mixtures weigh every expert for every token, and masked tokens none") {
  Random random(3);
  Init init(random);
  const SoftMoE moe(4, {.num_experts = 3, .num_slots = 2}, init);
  const Tensor mask = cast(tensor({{1, 1, 0}, {1, 1, 1}}), DType::boolean);
  const RoutingMap m = look(moe, random_normal({2, 3, 4}, 0, 1, random.next()), mask).maps.of("blocks.2");
  CHECK(m.soft);
  CHECK(m.load == std::vector<i64>{4, 4, 4});
  CHECK(total(m, 0, 0) == doctest::Approx(1));
  CHECK(total(m, 0, 2) == 0);
  CHECK(total(m, 1, 2) == doctest::Approx(1));
  CHECK(m.entropy > 0);
  CHECK(m.entropy <= std::log(3.0) + 1e-6);
}

TEST_CASE("routing map: mixtures of depths and blocks of any module are seen, too") {
  Random random(4);
  Init init(random);
  const Tensor x = random_normal({2, 8, 4}, 0, 1, random.next());
  const MoDLayer mod(4, std::make_unique<FeedForward>(4, FeedForward::Options{.hidden = 3}, init),
                     {.capacity = {.slots = 3}}, init);
  const RoutingMap depth = look(mod, x).maps.of("blocks.2");
  CHECK(depth.load == std::vector<i64>{6});
  CHECK(depth.dropped == 10);
  CHECK(depth.choices == 16);
  std::vector<std::unique_ptr<Layer>> list;
  for (int i = 0; i < 3; ++i) list.push_back(std::make_unique<FeedForward>(4, FeedForward::Options{.hidden = 3}, init));
  const MoEBlock block(4, std::move(list), {.router = {.k = 2}}, init);
  const RoutingMap items = look(block, x).maps.of("blocks.2");
  CHECK(items.experts == 3);
  CHECK(items.groups * items.tokens == 16);
}

TEST_CASE(
    "routing map: a recomputed pass is told once; nothing, and another layer, are errors that list what is there") {
  Random random(5);
  Init init(random);
  LanguageModel model(
      {.vocabulary = 7, .context = 6, .width = 8, .layers = 2, .heads = 2, .recompute = true},
      [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .hidden = 4}, i); }, init);
  RoutingMaps maps;
  Context context{.training = true, .random = &random, .watch = &maps};
  const Tensor tokens = zeros({2, 6}, DType::i64);
  cross_entropy(model.forward(tokens, context), tokens).backward();
  CHECK(maps.all().size() == 2);
  CHECK_THROWS_WITH_AS(maps.of("nobody"),
                       "routing map: the layer must have made a routing; got 'nobody', and those that did are "
                       "'blocks.0.feed_forward', 'blocks.1.feed_forward'",
                       Error);
  maps.clear();
  CHECK_THROWS_WITH_AS(maps.of(""),
                       "routing map: the layer must have made a routing; got '', and those that did are none", Error);
}
