#include "nn/inspect/load_statistics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

// Token n of group g is in expert[g][n]; -1: dropped.
RoutingMap map_of(const std::vector<std::vector<i64>>& expert, i64 experts) {
  const auto tokens = static_cast<i64>(expert[0].size());
  RoutingMap m{.layer = "a", .groups = static_cast<i64>(expert.size()), .tokens = tokens, .experts = experts};
  m.load.resize(static_cast<std::size_t>(experts));
  for (const auto& row : expert)
    for (const i64 chosen : row)
      for (i64 e = 0; e < experts; ++e) {
        m.slots.push_back(chosen == e);
        m.weight.push_back(chosen == e ? 0.5 : 0);
        m.load[static_cast<std::size_t>(e)] += chosen == e;
        m.dropped += e == 0 && chosen < 0;
        m.choices += e == 0;
      }
  return m;
}

}  // namespace

TEST_CASE("load statistics: loads, shares and imbalance of two batches, by hand") {
  LoadStatistics loads;
  loads.add(map_of({{0, 0, 1}, {0, 3, -1}}, 4));
  loads.add(map_of({{0, 0, 1}, {0, 0, 1}}, 4));
  const LayerLoad& l = loads.of("a");
  CHECK(l.load == std::vector<double>{7, 3, 0, 1});
  CHECK(l.tokens == 12);
  CHECK(l.share(1) == doctest::Approx(3.0 / 11));
  CHECK(l.max_over_mean() == doctest::Approx(7.0 / 2.75));
  CHECK(l.variation() ==
        doctest::Approx(std::sqrt((4.25 * 4.25 + 0.25 * 0.25 + 2.75 * 2.75 + 1.75 * 1.75) / 4) / 2.75));
  CHECK(l.variation() == doctest::Approx(std::sqrt(cv_squared(tensor({7.0f, 3.0f, 0.0f, 1.0f})).item())));
  CHECK(l.dead_experts() == 1);
  CHECK(l.dropped_share() == doctest::Approx(1.0 / 12));
  CHECK(l.load_at == std::vector<double>{4, 0, 0, 0, 3, 0, 0, 1, 0, 3, 0, 0});
  CHECK(l.tokens_at == std::vector<i64>{4, 4, 4});
  const HeatMap map = position_load(l);
  CHECK(map.rows.size() == 4);
  CHECK(map.columns == std::vector<double>{0, 1, 2});
  CHECK(map.values == std::vector<double>{1, 0.75, 0, 0, 0, 0.75, 0, 0, 0, 0, 0.25, 0});
  CHECK(map.level == doctest::Approx(11.0 / 48));
}

TEST_CASE("load statistics: charts are absolute or in percent, beside an even share; the table says how even it is") {
  LoadStatistics loads;
  loads.add(map_of({{0, 0, 1, -1}}, 3));
  const BarChart percent = expert_load_chart(loads.of("a")),
                 absolute = expert_load_chart(loads.of("a"), LoadUnit::absolute);
  CHECK(absolute.labels == std::vector<std::string>{"0", "1", "2"});
  CHECK(absolute.groups.at(0).values == std::vector<double>{2, 1, 0});
  CHECK(absolute.level == 1);
  CHECK(percent.groups.at(0).values[0] == doctest::Approx(200.0 / 3));
  CHECK(percent.level == doctest::Approx(100.0 / 3));
  CHECK(percent.y_label == "percent");
  CHECK(imbalance_table(loads).rows.at(0) == std::vector<std::string>{"a", "3", "3", "2.00", "0.82", "1", "25.00 %"});
  RoutingMap one = map_of({{0, -1}}, 1);
  one.layer = "depth";
  loads.add(one);
  CHECK(expert_load_charts(loads).size() == 1);
  CHECK(position_load(loads.of("depth")).values == std::vector<double>{1, 0});
}

TEST_CASE("load statistics: without load there are no shares; experts, positions and names must fit") {
  LoadStatistics loads;
  loads.add(map_of({{-1, -1}}, 2));
  CHECK(std::isnan(loads.of("a").share(0)));
  CHECK(std::isnan(loads.of("a").max_over_mean()));
  CHECK(std::isnan(loads.of("a").variation()));
  CHECK(loads.of("a").dead_experts() == 2);
  CHECK(expert_load_chart(loads.of("a")).groups[0].values == std::vector<double>{0, 0});
  CHECK_THROWS_WITH_AS(
      loads.add(map_of({{0, 0, 0}}, 2)),
      "load statistics: a layer must keep its experts and positions; got 2 and 3 for 'a', which had 2 and 2", Error);
  CHECK_THROWS_WITH_AS(
      loads.add(map_of({{0, 0}}, 3)),
      "load statistics: a layer must keep its experts and positions; got 3 and 2 for 'a', which had 2 and 2", Error);
  CHECK_THROWS_WITH_AS(loads.of("b"), "load statistics: the layer must have made a routing; got 'b'", Error);
  CHECK_THROWS_WITH_AS(LoadStatistics(-1), "load statistics: positions must be at least 0; got -1", Error);
  LoadStatistics fours(4);
  fours.add(map_of({{0, 0, 1}}, 2));
  CHECK(fours.of("a").load == std::vector<double>{2, 1});
  CHECK_THROWS_WITH_AS(position_load(fours.of("a")),
                       "position_load: tokens must be whole sequences; those of 'a' are not", Error);
}

TEST_CASE("load statistics: watch any model; a batch that is one group is cut into its sequences") {
  Random random(1);
  Init init(random);
  const i64 S = 6;
  LanguageModel model(
      {.vocabulary = 9, .context = S, .width = 8, .layers = 2, .heads = 2},
      [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .k = 2, .hidden = 4}, i); }, init);
  LoadStatistics loads(S);
  RoutingMaps maps;
  const Tensor tokens = random_integers({2, S}, 0, 9, random.next());
  for (RoutingWatch* watch : {static_cast<RoutingWatch*>(&loads), static_cast<RoutingWatch*>(&maps)}) {
    Context context{.watch = watch};
    model.forward(tokens, context);
  }
  REQUIRE(loads.layers().size() == 2);
  const LayerLoad& l = loads.of("blocks.1.feed_forward");
  CHECK(l.tokens_at == std::vector<i64>(6, 2));
  const RoutingMap& map = maps.of("blocks.1.feed_forward");
  for (i64 position = 0; position < S; ++position)
    for (i64 e = 0; e < 3; ++e) {
      i64 expected = 0;
      for (const i64 row : {0, 1}) expected += map.slots[static_cast<std::size_t>((row * S + position) * 3 + e)];
      CHECK(l.load_at[static_cast<std::size_t>(position * 3 + e)] == static_cast<double>(expected));
    }
  CHECK(l.total() == 2 * 2 * S);
}

TEST_CASE("load statistics: soft mixtures are counted by weight, mixtures of depths by who is processed") {
  Random random(2);
  Init init(random);
  const Tensor x = random_normal({3, 5, 4}, 0, 1, random.next());
  LoadStatistics loads;
  Context context{.watch = &loads};
  {
    const Inside here(context, "soft");
    SoftMoE(4, {.num_experts = 3, .num_slots = 2}, init).forward(x, context);
  }
  const Inside here(context, "depth");
  MoDLayer(4, std::make_unique<FeedForward>(4, FeedForward::Options{.hidden = 3}, init), {.capacity = {.slots = 2}},
           init)
      .forward(x, context);
  CHECK(loads.of("soft").total() == doctest::Approx(15));  // every token's weights sum to 1
  CHECK(std::isnan(loads.of("soft").dropped_share()));
  const HeatMap depth = position_load(loads.of("depth"));
  double processed = 0;
  for (const double v : depth.values) processed += 3 * v;
  CHECK(processed == doctest::Approx(6));
  CHECK(loads.of("depth").dropped_share() == doctest::Approx(9.0 / 15));
}
