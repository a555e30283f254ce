// Lines, bars, heat maps, tables and drawings as HTML.
#include <doctest/doctest.h>

#include <cmath>

#include "core/errors.h"
#include "nn/inspect/report/bar_chart.h"
#include "nn/inspect/report/heat_map.h"
#include "nn/inspect/report/line_chart.h"
#include "nn/inspect/report/table.h"
#include "tests/nn/inspect/report/markup.h"
#include "tests/support/message_of.h"

using namespace moegrad;
using namespace moegrad::test;
using namespace moegrad::report;
using moegrad::test::count;
using moegrad::test::malformed;

namespace {

LineChart lines(std::vector<double> y) {
  LineChart chart{.title = "loss", .x_label = "step", .y_label = "nats", .series = {{"a", {}, std::move(y)}}};
  for (std::size_t i = 0; i < chart.series[0].y.size(); ++i) chart.series[0].x.push_back(static_cast<double>(i));
  return chart;
}

HeatMap map(std::vector<double> columns, std::vector<double> values) {
  return {.title = "load",
          .x_label = "step",
          .y_label = "expert",
          .value_label = "share",
          .rows = {"0", "1"},
          .columns = std::move(columns),
          .values = std::move(values)};
}

}  // namespace

TEST_CASE("line chart: a stroke for every run of values, dots for few values and for lonely ones") {
  const Drawn d = draw(lines({1, 2, kNoValue, 3, kNoValue, 0, 1}));
  CHECK(malformed(d.body) == "");
  CHECK(d.points == 5);
  // x from 0 to 6, y from 0 to 3; units of 1/10000 from the upper left.
  CHECK(d.body.find("d=\"M0 6667L1667 3333M5000 0M8333 10000L10000 6667\"") != std::string::npos);
  CHECK(count(d.body, "h0") == 5);
  std::vector<double> y(30, 1);
  y[10] = y[12] = y[28] = kNoValue;
  CHECK(count(draw(lines(y)).body, "h0") == 2);
}

TEST_CASE("line chart: band, level, legend, table and data are there") {
  LineChart chart = lines({1, 2, 3});
  chart.series[0].low = {0.5, 1.5, 2.5};
  chart.series[0].high = {1.5, 2.5, 3.5};
  chart.level = 2;
  chart.level_name = "baseline";
  const Drawn d = draw(chart);
  CHECK(malformed(d.body) == "");
  CHECK(count(d.body, "class=\"area e0\"") == 1);
  CHECK(count(d.body, "<path class=\"level\"") == 1);
  CHECK(d.body.find("baseline 2") != std::string::npos);
  CHECK(malformed(d.data) == "");
  CHECK(count(d.data, "<td") == 6);
  CHECK(d.data.find("\"y\":[1,2,3]") != std::string::npos);
}

TEST_CASE("line chart: a long one is small, says what a point stands for, and shows its extremes") {
  std::vector<double> y(50000, 1);
  y[777] = 9;
  const Drawn d = draw(lines(y));
  CHECK(d.points == 50000);
  CHECK(d.body.size() + d.data.size() < 60000);
  CHECK(d.remark.find("means of about 125 values") != std::string::npos);
  CHECK(d.body.find("from 1 to 9") != std::string::npos);  // what a screen reader says
}

TEST_CASE("line chart: values of all sizes stay within the box") {
  for (const std::vector<double>& y :
       {std::vector<double>{3}, {2, 2}, {0, 0}, {1e-9, 2e-9}, {1e12, 3e12}, {-5, 2}, {1e300, -1e300}, {1, 1.0 / 0.0}})
    for (const bool log : {false, true}) {
      LineChart chart = lines(y);
      chart.log_y = log;
      chart.level = -1;
      const Drawn d = draw(chart);
      CHECK(malformed(d.body) == "");
      if (log && d.points == 0) continue;
      const std::size_t stroke = d.body.find("class=\"stroke");
      const std::string path = d.body.substr(stroke, d.body.find("/>", stroke) - stroke);
      CHECK(path.find("nan") == std::string::npos);
      CHECK(path.find('-') == std::string::npos);  // nothing is outside the box
    }
}

TEST_CASE("figures without a value have no body") {
  CHECK(draw(lines({})).body.empty());
  CHECK(draw(lines({kNoValue, kNoValue})).body.empty());
  CHECK(draw(LineChart{}).body.empty());
  CHECK(draw(HeatMap{}).body.empty());
  CHECK(draw(BarChart{.labels = {"a"}, .groups = {{"g", {kNoValue}}}}).body.empty());
  CHECK(draw(Table{.header = {"a"}}).body.empty());
  CHECK(draw(Drawing{}, "").body.empty());
}

TEST_CASE("charts: lists that do not fit are an error with the title") {
  LineChart chart = lines({1, 2});
  chart.series[0].x.push_back(5);
  CHECK_THROWS_WITH_AS(draw(chart),
                       "line chart 'loss': x, y and a band's low and high must be equally many; got series 'a' with 3, "
                       "2, 0 and 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(draw(map({1, 2}, {1, 2, 3})),
                       "heat map 'load': there must be a value for every row and column; got 3 for 2 x 2", ShapeError);
  CHECK_THROWS_WITH_AS(
      draw(BarChart{.title = "b", .labels = {"x"}, .groups = {{"g", {1}, {0}, {}}}}),
      "bar chart 'b': every group must have a value, and if any both ends, per label; got 1 labels and "
      "group 'g' with 1, 1 and 0",
      ShapeError);
  CHECK_THROWS_WITH_AS(draw(Table{.title = "t", .header = {"a", "b"}, .rows = {{"1"}}}),
                       "table 't': a row must have as many cells as the header; got 1 and 2", ShapeError);
}

TEST_CASE("heat map: columns lie where their positions are, groups of many are averaged") {
  CHECK(edges_of({1, 2, 4}) == std::vector<double>{0.5, 1.5, 3, 5});
  CHECK(edges_of({7}) == std::vector<double>{6.5, 7.5});
  std::vector<double> columns, values;
  for (int i = 0; i < 1200; ++i) columns.push_back(i);
  for (int i = 0; i < 2400; ++i) values.push_back(i % 2);
  const Drawn d = draw(map(columns, values));
  CHECK(d.points == 2400);
  CHECK(d.data.find("\"cols\":[0.5,2.5,") != std::string::npos);
  CHECK(d.data.find("\"v\":[0.5,0.5,") != std::string::npos);
  CHECK(malformed(d.body) == "");
}

TEST_CASE("heat map: the scale has the ends of the values, or those given, and a mark") {
  HeatMap m = map({1, 2}, {0.25, 0.5, kNoValue, 1});
  m.level = 0.5;
  m.level_name = "even share";
  const Drawn d = draw(m);
  CHECK(d.points == 3);
  CHECK(d.body.find("<i style=\"left:33.33%\"></i>") != std::string::npos);
  CHECK(d.body.find("even share 0.5") != std::string::npos);
  m.low = 0;
  m.high = 2;
  CHECK(draw(m).body.find("<i style=\"left:25%\"></i>") != std::string::npos);
  m.level = 7;  // outside the scale
  CHECK(draw(m).body.find("even share") == std::string::npos);
}

TEST_CASE("bar chart: short labels stand below upright bars, long ones beside lying ones") {
  const BarChart upright{.title = "b",
                         .y_label = "y",
                         .labels = {"0", "1"},
                         .groups = {{"g", {1, -1}, {0, -2}, {2, 0}}},
                         .level = 0.5,
                         .level_name = "even"};
  const Drawn d = draw(upright);
  CHECK(malformed(d.body) == "");
  CHECK(d.points == 2);
  // -2 to 2: zero in the middle; the bars reach 1 and -1.
  CHECK(d.body.find("M550 5000V2500h3900V5000ZM5550 5000V7500h3900V5000Z") != std::string::npos);
  CHECK(count(d.body, "class=\"ends\"") == 1);
  BarChart lying = upright;
  lying.labels = {"a label of thirty-two characters", "another one that is just as long"};
  CHECK(draw(lying).body.find("class=\"hbars\"") != std::string::npos);
  CHECK(malformed(draw(lying).body) == "");
  lying.groups = {{"one", {-0.0005488, 0.1068}}};  // numbers fit their column
  CHECK(draw(lying).body.find("\u22120.0005</span>") != std::string::npos);
  CHECK(draw(lying).body.find(">0.1068</span>") != std::string::npos);
}

TEST_CASE("plots: on a phone every second label goes where all would not fit, and only there") {
  BarChart chart{.title = "b", .labels = {"a", "b", "c"}, .groups = {{"g", {1, 2, 3}}}};
  CHECK(count(draw(chart).body, "xt alt") == 0);
  chart.labels = {"0.001", "0.002", "0.003", "0.004", "0.005", "0.006"};
  chart.groups[0].values = {1, 2, 3, 4, 5, 6};
  CHECK(count(draw(chart).body, "xt alt") == 3);
}

TEST_CASE("table: columns of numbers stand to the right") {
  const Drawn d =
      draw(Table{.header = {"name", "value"}, .rows = {{"a<b", "1,024"}, {"c", ""}, {"1", "\u22122.5e-3 %"}}});
  CHECK(d.points == 6);
  CHECK(count(d.body, "<td class=\"n\">") == 3);
  CHECK(d.body.find("<th class=\"n\">value") != std::string::npos);
  CHECK(d.body.find("a&lt;b") != std::string::npos);
}

TEST_CASE("drawing: ids get a prefix; what is not SVG, or reaches out, is an error") {
  const Drawn d = draw(Drawing{.title = "g", .svg = "\n<svg><path id=\"a\" fill=\"url(#a)\"/></svg>\n"}, "f1-");
  CHECK(d.body.find("id=\"f1-a\" fill=\"url(#f1-a)\"") != std::string::npos);
  CHECK(d.points == 2);
  const auto error_of = [](const char* svg) {
    return message_of<ShapeError>([&] { draw(Drawing{.title = "g", .svg = svg}, ""); });
  };
  const std::string one = "drawing 'g': it must be one <svg> element; got ",
                    alone = "drawing 'g': it must hold neither a script nor another file; got ";
  CHECK(error_of("<p></p>") == one + "'<p></p>..'");
  CHECK(error_of("<svg><svg></svg>") == one + "'<svg><svg></svg>..'");
  CHECK(error_of("<svg><script></script></svg>") == alone + "'<script'");
  CHECK(error_of("<svg><image href=\"http://x\"/></svg>") == alone + "'href=\"http'");
}
