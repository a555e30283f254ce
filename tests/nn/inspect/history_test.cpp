#include "nn/inspect/history.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/moegrad.h"
#include "tests/support/message_of.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

double wave(i64 step) { return std::sin(0.37 * static_cast<double>(step)) / 3 + 1e-3 * static_cast<double>(step); }

// Equal, or both without a value.
bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

bool same(const Series& a, const Series& b) {
  return a.name == b.name && same(a.x, b.x) && same(a.y, b.y) && same(a.low, b.low) && same(a.high, b.high);
}

bool same(const LineChart& a, const LineChart& b) {
  return std::equal(a.series.begin(), a.series.end(), b.series.begin(), b.series.end(),
                    [](const Series& x, const Series& y) { return same(x, y); });
}

// One group of four tokens, of which expert e has load[e]; `dropped` choices had no slot.
RoutingMap map_of(const std::string& layer, const std::vector<i64>& load, i64 dropped, double entropy) {
  RoutingMap m{.layer = layer, .groups = 1, .tokens = 4, .experts = static_cast<i64>(load.size())};
  m.load = load;
  m.dropped = m.choices = dropped;
  for (const i64 v : load) m.choices += v;
  m.entropy = entropy;
  return m;
}

}  // namespace

TEST_CASE("scalar history: a short run is kept as it is, without a band") {
  ScalarHistory history;
  for (i64 step = 0; step < 1000; ++step) history.add(step, "loss", wave(step));
  history.add(10, "lr", 0.5);
  const Series s = history.series("loss", "training");
  CHECK(s.name == "training");
  REQUIRE(s.x.size() == 1000);
  CHECK(s.low.empty());
  CHECK(s.x[7] == 7);
  CHECK(s.y[7] == wave(7));
  CHECK(history.names() == std::vector<std::string>{"loss", "lr"});
  CHECK(history.last("loss") == wave(999));
  CHECK(std::isnan(history.last("nothing")));
  CHECK(history.points("nothing").empty());
  CHECK(history.chart("Loss", {"loss", "nothing", "lr"}).series.size() == 2);
}

TEST_CASE("scalar history: a long run is thinned to means of neighbours between their extremes") {
  ScalarHistory history;
  double last = 0;
  for (i64 step = 0; step < 5000; ++step) history.add(step, "loss", last = wave(step));
  const auto points = history.points("loss");
  CHECK(points.size() <= 1000);
  CHECK(points.size() > 500);
  // 5000 steps, thinned when there are 1001 points: stretches of 8, of which the last is whole, too
  REQUIRE(points.size() == 625);
  for (i64 p : {0, 1, 311, 624}) {
    double sum = 0, low = INFINITY, high = -INFINITY;
    for (i64 step = 8 * p; step < 8 * p + 8; ++step) {
      sum += wave(step);
      low = std::min(low, wave(step));
      high = std::max(high, wave(step));
    }
    const auto& point = points[static_cast<std::size_t>(p)];
    CHECK(point.step == static_cast<double>(8 * p) + 3.5);
    CHECK(point.value == doctest::Approx(sum / 8).epsilon(1e-12));
    CHECK(point.low == low);
    CHECK(point.high == high);
  }
  CHECK(history.last("loss") == last);
}

TEST_CASE("scalar history: a run that is written and read back anywhere continues its curve exactly") {
  ScalarHistory whole, resumed;
  for (i64 step = 0; step < 4000; ++step) {
    if (step % 700 == 350) resumed = ScalarHistory::from_text(resumed.text());
    for (ScalarHistory* h : {&whole, &resumed}) {
      h->add(step, "loss", wave(step));
      if (step % 100 == 0) h->add(step, "validation", wave(step) * 2);
    }
  }
  CHECK(same(whole.series("loss"), resumed.series("loss")));
  CHECK(same(whole.series("validation"), resumed.series("validation")));
  CHECK(whole.text() == resumed.text());
  // one more look, where a run stopped, moves nothing else
  ScalarHistory more;
  for (i64 step = 0; step < 4000; ++step) {
    more.add(step, "loss", wave(step));
    if (step == 1234) more.add(step, "loss", wave(step));
  }
  CHECK(more.points("loss").size() == whole.points("loss").size());
  CHECK(more.points("loss").back().value == whole.points("loss").back().value);
}

TEST_CASE("scalar history: what is not finite leaves a gap, and only there") {
  ScalarHistory history;
  i64 step = 0;
  for (const double v : {1.0, std::nan(""), double(INFINITY), 1e301, 2.0}) history.add(step++, "loss", v);
  CHECK(same(history.series("loss").y, {1, kNoValue, kNoValue, kNoValue, 2}));
  history.add(5, "none", std::nan(""));
  CHECK(std::isnan(history.last("none")));
  const ScalarHistory back = ScalarHistory::from_text(history.text());
  CHECK(same(history.series("loss"), back.series("loss")));
  CHECK(std::isnan(back.last("none")));
  for (; step < 1200; ++step) history.add(step, "loss", 3);
  const Series s = history.series("loss");  // of pairs of steps
  CHECK(s.x[2] == 4.5);
  CHECK(same({s.y.begin(), s.y.begin() + 4}, {1, kNoValue, 2.5, 3}));
  CHECK(same({s.low.begin(), s.low.begin() + 4}, {1, kNoValue, 2, 3}));
  CHECK(same({s.high.begin(), s.high.begin() + 4}, {1, kNoValue, 3, 3}));
}

TEST_CASE("scalar history: steps that fall, and texts that are not a history, are errors") {
  ScalarHistory history;
  history.add(5, "loss", 1);
  history.add(5, "loss", 1);
  CHECK_THROWS_WITH_AS(history.add(4, "loss", 1),
                       "history: steps must be at least 0 and not fall; got 4 for 'loss', whose last is 5", Error);
  CHECK_THROWS_WITH_AS(history.add(-1, "other", 1),
                       "history: steps must be at least 0 and not fall; got -1 for 'other', whose last is 0", Error);
  CHECK(history.names().size() == 1);
  const std::string good = history.text();
  for (const std::string& text :
       {std::string("nothing"), std::string("{}"), std::string("[]"), good.substr(0, good.size() / 2),
        std::string(R"({"format":"moegrad.scalar_history","version":1,"content":[{"name":1}]})")})
    CHECK(message_of<IoError>([&] { ScalarHistory::from_text(text); })
              .starts_with(
                  "history: the text must be that of a moegrad.scalar_history: "));  // then, the JSON library's words
  CHECK(message_of<IoError>([] { ScalarHistory::from_text(LoadHistory().text()); }) ==
        "history: the text is of another format or version");
  ScalarHistory odd;
  odd.add(0, "\xff", 1);
  CHECK(message_of<IoError>([&] { odd.text(); }).starts_with("history: names must be UTF-8: "));
}

TEST_CASE("load history: shares, drops, entropies and dead experts by hand; routings of a layer count together") {
  LoadHistory history;
  history.add(10, {map_of("a", {3, 1}, 0, 0.5), map_of("b", {4, 0}, 4, kNoValue)});
  history.add(20, {map_of("a", {0, 2}, 2, 0.25), map_of("a", {4, 0}, 0, 0.75)});
  CHECK(history.layers() == std::vector<std::string>{"a", "b"});
  const HeatMap a = history.load("a");
  CHECK(a.columns == std::vector<double>{10, 20});
  CHECK(a.rows == std::vector<std::string>{"0", "1"});
  CHECK(a.values == std::vector<double>{0.75, 4.0 / 6, 0.25, 2.0 / 6});
  CHECK(a.level == 0.5);
  CHECK(history.load("b").values == std::vector<double>{1, 0});
  const LineChart dropped = history.dropped();
  REQUIRE(dropped.series.size() == 2);
  CHECK(dropped.series[0].y == std::vector<double>{0, 25});
  CHECK(dropped.series[1].y == std::vector<double>{50});
  CHECK(history.entropy().series.size() == 1);
  CHECK(history.entropy().series[0].y == std::vector<double>{0.5, 0.5});
  CHECK(history.dead_experts().series[0].y == std::vector<double>{0, 0});
  CHECK(history.dead_experts().series[1].y == std::vector<double>{1});
  CHECK(history.figures().size() == 5);
  CHECK_THROWS_WITH_AS(history.load("c"), "history: the layer must have been added; got 'c'", Error);
}

TEST_CASE("load history: a long run is thinned and can be continued; an undisturbed one has the same figures") {
  LoadHistory whole, resumed;
  for (i64 step = 0; step < 1500; ++step) {
    if (step == 900) resumed = LoadHistory::from_text(resumed.text());
    const i64 n = step % 5;
    for (LoadHistory* h : {&whole, &resumed})
      h->add(step, {map_of("a", {n, 8 - n}, step % 3, wave(step)), map_of("b", {1, 2, step % 7}, 0, kNoValue)});
  }
  CHECK(whole.text() == resumed.text());
  const HeatMap a = whole.load("a");
  CHECK(a.columns.size() == 375);  // stretches of 4
  CHECK(a.columns[1] == 5.5);
  CHECK(a.values[1] == doctest::Approx((4 + 0 + 1 + 2) / 32.0));  // steps 4 to 7
  CHECK(same(a.values, resumed.load("a").values));
  CHECK(same(whole.dropped(), resumed.dropped()));
  CHECK(same(whole.entropy(), resumed.entropy()));
  CHECK(same(whole.dead_experts(), resumed.dead_experts()));
  CHECK(whole.dead_experts().series[0].high[1] == 1);  // step 5 had an expert without a token
  CHECK(whole.dead_experts().series[0].low[1] == 0);
}

TEST_CASE("load history: soft mixtures show weights; a text and a number of experts that do not fit are errors") {
  LoadHistory history;
  RoutingMap soft = map_of("", {4, 4}, 0, 0.1);
  soft.soft = true;
  soft.weight = {0.5, 0.5, 1, 0, 0.25, 0.75, 1, 0};
  soft.choices = 0;
  history.add(0, {soft});
  CHECK(history.load("").values == std::vector<double>{2.75 / 4, 1.25 / 4});
  CHECK(history.load("").title == "Load of mixture");
  CHECK(history.dropped().series.empty());
  CHECK_THROWS_WITH_AS(history.add(1, {map_of("", {1, 1, 1}, 0, 0)}),
                       "history: a layer must keep its number of experts; got 3 for '', which had 2", Error);
  CHECK_THROWS_WITH_AS(history.add(1, {map_of("new", {1, 1, 1}, 0, 0), map_of("new", {1, 1}, 0, 0)}),
                       "history: a layer must keep its number of experts; got 2 for 'new', which had 3", Error);
  CHECK(history.layers().size() == 1);
  std::string text = history.text();
  text.replace(text.find("\"experts\":2"), 11, "\"experts\":3");
  CHECK_THROWS_WITH_AS(LoadHistory::from_text(text), "history: a load must have one number per expert", IoError);
  CHECK_THROWS_WITH_AS(LoadHistory::from_text(ScalarHistory().text()),
                       "history: the text is of another format or version", IoError);
}

TEST_CASE("load history: maps of a model in training are what it takes") {
  Random random(1);
  Init init(random);
  LanguageModel model(
      {.vocabulary = 7, .context = 6, .width = 8, .layers = 2, .heads = 2},
      [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .k = 2, .hidden = 4}, i); }, init);
  LoadHistory history;
  RoutingMaps maps;
  for (i64 step = 0; step < 3; ++step) {
    Context context{.watch = &maps};
    model.forward(zeros({2, 6}, DType::i64), context);
    history.add(step, maps.all());
    maps.clear();
  }
  CHECK(history.layers() == std::vector<std::string>{"blocks.0.feed_forward", "blocks.1.feed_forward"});
  const HeatMap load = history.load("blocks.1.feed_forward");
  CHECK(load.values.size() == 9);
  CHECK(load.values[0] + load.values[3] + load.values[6] == doctest::Approx(1));
  CHECK(history.figures().size() == 5);
}
