#include "examples/training/comparison_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace examples {

Comparison compare(std::vector<Contestant> routers, double dense_flops_per_token) {
  Comparison c{.dense_flops_per_token = dense_flops_per_token};
  c.flops = read_all(routers, Budget::flops, common_budget(routers, Budget::flops));
  c.seconds = read_all(routers, Budget::seconds, common_budget(routers, Budget::seconds));
  c.routers = std::move(routers);
  return c;
}

namespace {

// ---- numbers over seeds

struct Spread {
  double mean = kNoValue, deviation = kNoValue;
};

Spread spread_of(const std::vector<double>& values) {
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) return {};
  return {mean_of(values), deviation_of(values)};
}

template <class List, class F> std::vector<double> each(const List& list, const F& f) {
  std::vector<double> values;
  for (const auto& v : list) values.push_back(f(v));
  return values;
}

std::string number(double v, int digits = 3) { return std::isnan(v) ? "" : fmt::format("{:.{}f}", v, digits); }

std::string with_spread(const Spread& s, int digits = 3, double times = 1) {
  return std::isnan(s.mean) ? ""
                            : fmt::format("{:.{}f} ± {:.{}f}", times * s.mean, digits, times * s.deviation, digits);
}

std::string p_text(double p) { return p < 0.0001 ? "< 0.0001" : fmt::format("{:.4f}", p); }

std::string budget_name(Budget budget) { return budget == Budget::flops ? "equal FLOPs" : "equal wall time"; }

// ---- curves

// Means over seeds at every look that all of them had, and one deviation to both sides.
Series series_of(const Contestant& c, Budget budget, bool accuracy) {
  Series s{.name = c.name};
  std::size_t looks = c.curves.front().loss.size();
  for (const Curve& curve : c.curves) looks = std::min(looks, curve.loss.size());
  for (std::size_t i = 0; i < looks; ++i) {
    const auto x = each(c.curves, [&](const Curve& k) { return budget == Budget::flops ? k.flops[i] : k.seconds[i]; });
    const auto y = each(c.curves, [&](const Curve& k) { return accuracy ? k.accuracy[i] : k.loss[i]; });
    const Spread at = spread_of(y);
    s.x.push_back(budget == Budget::flops ? mean_of(x) / 1e9 : mean_of(x));
    s.y.push_back(at.mean);
    s.low.push_back(at.mean - at.deviation);
    s.high.push_back(at.mean + at.deviation);
  }
  return s;
}

// As many lines in a figure as colours that can be told apart; the first router is in all of them.
std::vector<Figure> curve_charts(const Comparison& c, Budget budget) {
  constexpr std::size_t kOthers = 7;
  const std::size_t others = c.routers.size() - 1, charts = (others + kOthers - 1) / kOthers;
  std::vector<Figure> figures;
  for (std::size_t k = 0; k < charts; ++k) {
    const std::size_t begin = 1 + k * others / charts, end = 1 + (k + 1) * others / charts;
    LineChart chart{.title = budget == Budget::flops ? "Validation loss against FLOPs" : "Validation loss against time",
                    .x_label = budget == Budget::flops ? "training, GFLOP" : "training, seconds",
                    .y_label = "nats per image",
                    .series = {series_of(c.routers.front(), budget, false)}};
    if (charts > 1) chart.title += fmt::format(", {} of {}", k + 1, charts);
    for (std::size_t r = begin; r < end; ++r) chart.series.push_back(series_of(c.routers[r], budget, false));
    if (k + 1 == charts)
      chart.note = fmt::format("Mean over {} seeds; the band is one standard deviation to either side.",
                               c.routers.front().curves.size());
    figures.push_back(std::move(chart));
  }
  return figures;
}

// ---- what the budgets bought

BarChart final_losses(const Reading& r) {
  BarChart chart{.title = "Validation loss", .y_label = "nats per image", .labels = r.names};
  BarChart::Group group{.name = budget_name(r.budget)};
  for (const auto& losses : r.loss) {
    const Spread s = spread_of(losses);
    group.values.push_back(s.mean);
    group.low.push_back(s.mean - s.deviation);
    group.high.push_back(s.mean + s.deviation);
  }
  chart.level = group.values.front();
  chart.level_name = r.names.front();
  chart.groups.push_back(std::move(group));
  chart.note = "Lower is better. The bar reaches one standard deviation over seeds to either side.";
  return chart;
}

BarChart differences(const Reading& r) {
  BarChart chart{.title = fmt::format("Loss less that of {}", r.names.front()), .y_label = "nats per image"};
  BarChart::Group group{.name = budget_name(r.budget)};
  for (const Versus& v : against(r, 0)) {
    chart.labels.push_back(r.names[v.a]);
    group.values.push_back(v.difference.mean);
    group.low.push_back(v.difference.low);
    group.high.push_back(v.difference.high);
  }
  chart.groups.push_back(std::move(group));
  chart.note =
      "Below 0 is better. The line is the 95 % interval of the mean, for each router by itself; verdicts allow for the "
      "number of questions.";
  return chart;
}

Table difference_table(const Comparison& c, const Reading& r) {
  const std::string& first = c.routers.front().name;
  Table table{
      .title = fmt::format("Against {} at {}", first, budget_name(r.budget)),
      .header = {"router", "loss", "accuracy, %", "difference", "95 % interval", "p", "corrected p", "the difference"}};
  const auto row = [&](std::size_t i) {
    return std::vector<std::string>{r.names[i], with_spread(spread_of(r.loss[i]), 4),
                                    with_spread(spread_of(r.accuracy[i]), 1, 100)};
  };
  table.rows.push_back(row(0));
  table.rows.back().resize(table.header.size());
  for (const Versus& v : against(r, 0)) {
    auto cells = row(v.a);
    const PairedDifference& d = v.difference;
    for (const std::string& cell : {fmt::format("{:+.4f}", d.mean), fmt::format("{:+.4f} to {:+.4f}", d.low, d.high),
                                    p_text(d.p), p_text(v.corrected_p), verdict(v)})
      cells.push_back(cell);
    table.rows.push_back(std::move(cells));
  }
  table.note = r.budget == Budget::flops ? fmt::format("Read at {:.4g} FLOPs of training.", r.at)
                                         : fmt::format("Read at {:.2f} seconds of training.", r.at);
  return table;
}

Table pair_table(const Reading& r) {
  const std::size_t n = r.names.size();
  Table table{.title = fmt::format("All pairs at {}", budget_name(r.budget)), .header = {"loss less that of"}};
  for (const std::string& name : r.names) table.header.push_back(name);
  for (const std::string& name : r.names) {
    table.rows.emplace_back(n + 1);
    table.rows.back().front() = name;
  }
  for (const Versus& v : all_pairs(r)) {
    const char* mark = v.exceeds ? "*" : "";
    table.rows[v.a][v.b + 1] = fmt::format("{:+.3f}{}", v.difference.mean, mark);
    table.rows[v.b][v.a + 1] = fmt::format("{:+.3f}{}", -v.difference.mean, mark);
  }
  table.note = "Row less column; below 0 the row is better. * exceeds the seed noise, allowing for all pairs.";
  return table;
}

std::string paragraph(const std::vector<std::string>& sentences) {
  return fmt::format("{}", fmt::join(sentences, " "));
}

Report::Section conclusion_section(const Reading& r) {
  return {.heading = "Conclusion at " + budget_name(r.budget),
          .text = paragraph(conclusion(r)),
          .figures = {differences(r), final_losses(r)}};
}

Report::Section curve_section(const Comparison& c) {
  Report::Section section{.heading = "Curves"};
  for (const Budget budget : {Budget::flops, Budget::seconds})
    for (Figure& chart : curve_charts(c, budget)) section.figures.push_back(std::move(chart));
  return section;
}

Report::Section table_section(const Comparison& c) {
  Report::Section section{.heading = "Differences"};
  for (const Reading* r : {&c.flops, &c.seconds}) {
    section.figures.push_back(difference_table(c, *r));
    if (c.routers.size() > 2) section.figures.push_back(pair_table(*r));
  }
  return section;
}

// ---- load balance

BarChart balance_chart(const Comparison& c, const char* title, const char* label, double Balance::*what, double times) {
  BarChart chart{.title = title, .y_label = label};
  BarChart::Group group{.name = "mean over seeds"};
  for (const Contestant& r : c.routers) {
    const Spread s = spread_of(each(r.balance, [&](const Balance& b) { return times * b.*what; }));
    if (std::isnan(s.mean)) continue;
    chart.labels.push_back(r.name);
    group.values.push_back(s.mean);
    group.low.push_back(std::max(0.0, s.mean - s.deviation));
    group.high.push_back(s.mean + s.deviation);
  }
  chart.groups.push_back(std::move(group));
  return chart;
}

Table balance_table(const Comparison& c) {
  Table table{.title = "Load balance", .header = {"router", "variation", "dead experts", "dropped, %"}};
  for (const Contestant& r : c.routers) {
    const auto spread = [&](double Balance::*what) {
      return spread_of(each(r.balance, [&](const Balance& b) { return b.*what; }));
    };
    table.rows.push_back({r.name, with_spread(spread(&Balance::variation)), with_spread(spread(&Balance::dead), 2),
                          with_spread(spread(&Balance::dropped), 1, 100)});
  }
  table.note =
      "Over all validation images, in the end; means over layers and seeds. Variation: standard deviation of the load "
      "of experts over its mean, 0 where all have as much to do; of soft mixtures the load is what tokens take from an "
      "expert. Dropped: choices without a place, or, where experts choose, tokens that nobody chose, which a mixture "
      "of depths does on purpose.";
  return table;
}

// Rows: routers and layers. Experts of one seed: another seed has them in another order.
HeatMap load_map(const Comparison& c) {
  HeatMap map{
      .title = "Share of every expert, first seed", .x_label = "expert", .y_label = "layer", .value_label = "%"};
  std::size_t most = 0;
  for (const Contestant& r : c.routers)
    for (const auto& layer : r.load) most = std::max(most, layer.size());
  for (std::size_t e = 0; e < most; ++e) map.columns.push_back(static_cast<double>(e));
  for (const Contestant& r : c.routers)
    for (std::size_t l = 0; l < r.load.size(); ++l) {
      if (r.load[l].size() < 2) continue;
      map.rows.push_back(fmt::format("{} {}", r.name, l));
      for (std::size_t e = 0; e < most; ++e) map.values.push_back(e < r.load[l].size() ? 100 * r.load[l][e] : kNoValue);
    }
  map.low = 0;
  map.note = "One row per layer. Routers with more experts have the ones that cost nothing at the right.";
  return map;
}

Report::Section balance_section(const Comparison& c) {
  Report::Section section{.heading = "Load balance"};
  for (BarChart chart : {balance_chart(c, "Variation of the load", "standard deviation / mean", &Balance::variation, 1),
                         balance_chart(c, "Dropped", "%", &Balance::dropped, 100)})
    if (!chart.labels.empty()) section.figures.push_back(std::move(chart));
  if (HeatMap map = load_map(c); !map.rows.empty()) section.figures.push_back(std::move(map));
  section.figures.push_back(balance_table(c));
  return section;
}

// ---- costs

Table cost_table(const Comparison& c) {
  Table table{.title = "What it cost",
              .header = {"router", "FLOPs / token", "less dense, %", "in training, %", "hidden", "parameters", "active",
                         "GFLOP / s", "tokens for the FLOPs", "tokens for the seconds"}};
  const auto percent = [&](double flops) { return 100 * (flops / c.dense_flops_per_token - 1); };
  for (const Contestant& r : c.routers) {
    const auto over_seeds = [&](const auto& what, int digits) {
      return with_spread(spread_of(each(r.curves, what)), digits);
    };
    table.rows.push_back({r.name, fmt::format("{:.0f}", r.flops_per_token),
                          fmt::format("{:+.2f}", percent(r.flops_per_token)),
                          over_seeds([&](const Curve& k) { return percent(k.flops.back() / k.tokens.back()); }, 1),
                          std::to_string(r.hidden), std::to_string(r.parameters), std::to_string(r.active),
                          over_seeds([](const Curve& k) { return k.flops.back() / k.seconds.back() / 1e9; }, 1),
                          over_seeds([&](const Curve& k) { return read_at(k.flops, k.tokens, c.flops.at); }, 0),
                          over_seeds([&](const Curve& k) { return read_at(k.seconds, k.tokens, c.seconds.at); }, 0)});
  }
  table.note =
      "FLOPs of a training step, forward and backward, as counted while it runs: before the first step, and over all "
      "of training, as routes change what a step costs. They leave out the update of the weights, seconds do not. "
      "Hidden: channels inside an expert, so many that experts pay for what routing costs.";
  return table;
}

}  // namespace

Report comparison_report(const Comparison& c, const std::string& about, const std::string& machine) {
  const std::size_t seeds = c.routers.front().curves.size();
  Report report{.title = "Routers compared", .subtitle = about};
  report.facts = {{"routers", std::to_string(c.routers.size())},
                  {"seeds", std::to_string(seeds)},
                  {"FLOPs each", fmt::format("{:.3g}", c.flops.at)},
                  {"seconds each", fmt::format("{:.1f}", c.seconds.at)},
                  {"machine", machine}};
  for (const Reading* r : {&c.flops, &c.seconds}) report.sections.push_back(conclusion_section(*r));
  report.sections.push_back(curve_section(c));
  report.sections.push_back(table_section(c));
  report.sections.push_back(balance_section(c));
  report.sections.push_back(
      {.heading = "Method", .text = method_text(c.routers.size(), seeds), .figures = {cost_table(c)}});
  return report;
}

std::string comparison_text(const Comparison& c) {
  const auto at_flops = against(c.flops, 0), at_seconds = against(c.seconds, 0);
  const auto cell = [](const Reading& r, const std::vector<Versus>& family, std::size_t i) {
    const std::string loss = with_spread(spread_of(r.loss[i]));
    return i == 0 ? fmt::format("{:<15}{:>9} ", loss, "")
                  : fmt::format("{:<15}{:>+8.3f}{:<2}", loss, family[i - 1].difference.mean,
                                family[i - 1].exceeds ? " *" : "");
  };
  std::string text = fmt::format("{:<20} {:<25}  {:<25}  {:>9}  {:>5}  {:>9}\n", "nats per image", "at equal FLOPs",
                                 "at equal wall time", "variation", "dead", "dropped %");
  for (std::size_t i = 0; i < c.routers.size(); ++i) {
    const auto mean = [&](double Balance::*what, double times, int digits) {
      return number(times * spread_of(each(c.routers[i].balance, [&](const Balance& b) { return b.*what; })).mean,
                    digits);
    };
    text += fmt::format("{:<20} {}  {}  {:>9}  {:>5}  {:>9}\n", c.routers[i].name, cell(c.flops, at_flops, i),
                        cell(c.seconds, at_seconds, i), mean(&Balance::variation, 1, 2), mean(&Balance::dead, 1, 2),
                        mean(&Balance::dropped, 100, 1));
  }
  text += fmt::format("mean ± standard deviation over seeds, difference to {}; * exceeds the seed noise\n\n",
                      c.routers.front().name);
  for (const Reading* r : {&c.flops, &c.seconds})
    for (const std::string& s : conclusion(*r)) text += s + "\n";
  return text;
}

}  // namespace examples
