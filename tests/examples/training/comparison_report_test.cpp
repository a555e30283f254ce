#include "examples/training/comparison_report.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace examples;

namespace {

Contestant contestant(std::size_t i) {
  const double n = static_cast<double>(i);
  Contestant c{
      .name = "router" + std::to_string(i), .hidden = 8, .parameters = 10, .active = 5, .flops_per_token = 100 + n};
  for (int seed = 0; seed < 3; ++seed) {
    const double own = 0.01 * std::sin(7 * n + 3 * seed);
    c.curves.push_back({.flops = {0, 1e9, 2e9 + 1e7 * n},
                        .seconds = {0, 1, 2 + n},
                        .tokens = {0, 1e7, 2e7},
                        .loss = {2.3, 1.5, 1 + 0.3 * n + own},
                        .accuracy = {0.1, 0.5, 0.7}});
    c.balance.push_back(i == 0 ? Balance{kNoValue, kNoValue, kNoValue} : Balance{0.2 * n, 1, 0.1});
  }
  if (i > 0) c.load = {{0.25, 0.75}, {0.5, 0.5}};
  return c;
}

Comparison comparison(std::size_t routers) {
  std::vector<Contestant> all;
  for (std::size_t i = 0; i < routers; ++i) all.push_back(contestant(i));
  return compare(std::move(all), 100);
}

const Report::Section& section(const Report& report, const std::string& heading) {
  for (const Report::Section& s : report.sections)
    if (s.heading == heading) return s;
  FAIL("no section " << heading);
  return report.sections.front();
}

}  // namespace

TEST_CASE("comparison report: the conclusion is what the numbers allow to say, at both budgets") {
  const Comparison c = comparison(3);
  CHECK(c.flops.at == doctest::Approx(2e9));
  CHECK(c.seconds.at == doctest::Approx(2));
  const Report report = comparison_report(c, "", "");
  for (const std::size_t i : {0, 1})
    for (const std::string& sentence : conclusion(i == 0 ? c.flops : c.seconds))
      CHECK(report.sections[i].text.find(sentence) != std::string::npos);
  CHECK(report.sections.front().text.find(
            "is higher than that of router0, and the difference exceeds the seed noise, with router2") !=
        std::string::npos);
}

TEST_CASE("comparison report: every router is in a curve, a bar and a row of every table") {
  const Comparison c = comparison(11);
  const Report report = comparison_report(c, "about", "two threads");
  const Report::Section& curves = section(report, "Curves");
  REQUIRE(curves.figures.size() == 4);  // ten others in two charts, twice
  std::size_t lines = 0;
  for (const std::size_t k : {0, 1}) {
    const auto& chart = std::get<LineChart>(curves.figures[k]);
    CHECK(chart.series.front().name == "router0");
    CHECK(chart.series.size() <= 8);
    lines += chart.series.size() - 1;
  }
  CHECK(lines == 10);
  const Report::Section& tables = section(report, "Differences");
  REQUIRE(tables.figures.size() == 4);
  CHECK(std::get<Table>(tables.figures[0]).rows.size() == 11);
  const auto& pairs = std::get<Table>(tables.figures[1]);
  // Means 0.9995 at the end, and 1.3037 on the way from 1.5 at 1e9 to 1.3018 at 2.01e9.
  CHECK(pairs.rows[0][2] == "-0.304*");
  CHECK(pairs.rows[1][1] == "+0.304*");
  const Report::Section& balance = section(report, "Load balance");
  CHECK(std::get<BarChart>(balance.figures[0]).labels.size() == 10);  // the dense one has none
  CHECK(std::get<HeatMap>(balance.figures[2]).rows.size() == 20);
  CHECK(std::get<Table>(balance.figures[3]).rows[0][1].empty());
  CHECK(report.html().find("router10") != std::string::npos);  // all lists fit each other
}

TEST_CASE("comparison report: the line of a curve and its band are mean and deviation over seeds") {
  const Comparison c = comparison(2);
  const Report report = comparison_report(c, "", "");
  const Series s = std::get<LineChart>(section(report, "Curves").figures[1]).series[1];
  const std::vector<double>& last = {c.routers[1].curves[0].loss[2], c.routers[1].curves[1].loss[2],
                                     c.routers[1].curves[2].loss[2]};
  CHECK(s.x == std::vector<double>{0, 1, 3});
  CHECK(s.y[2] == doctest::Approx(mean_of(last)));
  CHECK(s.high[2] - s.low[2] == doctest::Approx(2 * deviation_of(last)));
}

TEST_CASE("comparison report: costs in training and what the budgets bought, by hand") {
  const Report report = comparison_report(comparison(2), "", "");
  const auto& table = std::get<Table>(section(report, "Method").figures[0]);
  // 2.01e9 FLOPs for 2e7 tokens are 100.5 per token, 0.5 % above 100; 2e9 of them are read at 1 + 1 / 1.01 of 1e7
  // tokens; 2 seconds lie half way from 1 to 3.
  CHECK(table.rows[1][3] == "0.5 ± 0.0");
  CHECK(table.rows[1][8] == "19900990 ± 0");
  CHECK(table.rows[1][9] == "15000000 ± 0");
}

TEST_CASE("comparison in the terminal: a star where a difference exceeds the seed noise") {
  const std::string text = comparison_text(comparison(2));
  CAPTURE(text);
  CHECK(text.find("+0.304 *") != std::string::npos);
  CHECK(text.find("router0") != std::string::npos);
  CHECK(text.find("With 3 seeds") != std::string::npos);
}
