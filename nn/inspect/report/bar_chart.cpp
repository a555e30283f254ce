#include "nn/inspect/report/bar_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/inspect/report/html.h"
#include "nn/inspect/report/lying_bars.h"

namespace moegrad::report {
namespace {

using Group = BarChart::Group;

constexpr std::size_t kLying = 40;      // more bars than that do not lie one below the other
constexpr double kFilled = 0.78;        // of the room of a label, the rest is a gap
constexpr std::size_t kLabelRoom = 64;  // characters of all labels together, for upright bars

void check(const BarChart& chart) {
  for (const Group& g : chart.groups) {
    const auto fits = [&](const std::vector<double>& v) { return v.size() == chart.labels.size(); };
    const bool ends = !g.low.empty() || !g.high.empty();
    if (!fits(g.values) || (ends && (!fits(g.low) || !fits(g.high))))
      misfit("bar chart", chart.title, "every group must have a value, and if any both ends, per label",
             fmt::format("{} labels and group '{}' with {}, {} and {}", chart.labels.size(), g.name, g.values.size(),
                         g.low.size(), g.high.size()));
  }
}

bool lying(const BarChart& chart) {
  std::size_t characters = 0, longest = 0;
  for (const std::string& label : chart.labels) {
    characters += label.size() + 2;
    longest = std::max(longest, label.size());
  }
  return longest > 4 && characters > kLabelRoom && chart.labels.size() * chart.groups.size() <= kLying;
}

struct Slot {
  double left, width;
};

// Where the bar of group k stands above label i, in [0, 1].
Slot slot(const BarChart& chart, std::size_t i, std::size_t k) {
  const double room = 1.0 / static_cast<double>(chart.labels.size());
  const double width = room * kFilled / static_cast<double>(chart.groups.size());
  return {room * (static_cast<double>(i) + (1 - kFilled) / 2) + width * static_cast<double>(k), width};
}

std::string upright_group(const BarChart& chart, const Axis& axis, std::size_t k) {
  const Group& g = chart.groups[k];
  std::string bars, ends;
  for (std::size_t i = 0; i < g.values.size(); ++i) {
    if (!std::isfinite(g.values[i])) continue;
    const Slot s = slot(chart, i, k);
    bars += fmt::format("M{}V{:.0f}h{:.0f}V{:.0f}Z", box_point(s.left, axis.at(0)), (1 - axis.at(g.values[i])) * kBox,
                        s.width * kBox * (chart.groups.size() > 1 ? 0.94 : 1), (1 - axis.at(0)) * kBox);
    if (!g.low.empty() && std::isfinite(g.low[i]) && std::isfinite(g.high[i]))
      ends += fmt::format("M{}V{:.0f}", box_point(s.left + s.width / 2, axis.at(g.low[i])),
                          (1 - axis.at(g.high[i])) * kBox);
  }
  std::string out = fmt::format("<path class=\"fill e{}\" d=\"{}\"/>", k, bars);
  if (!ends.empty()) out += fmt::format("<path class=\"ends\" d=\"{}\"/>", ends);
  return out;
}

Ticks label_ticks(const BarChart& chart) {
  Ticks ticks{.lines = false};
  const std::size_t n = chart.labels.size();
  std::size_t longest = 1;
  for (const std::string& label : chart.labels) longest = std::max(longest, label.size());
  const std::size_t every = std::max<std::size_t>(1, (n * (longest + 1) + kLabelRoom - 1) / kLabelRoom);
  for (std::size_t i = 0; i < n; i += every) {
    ticks.at.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(n));
    ticks.labels.push_back(chart.labels[i]);
  }
  return ticks;
}

// What the bars are worth, above them, where that does not crowd.
std::string values_html(const BarChart& chart, const Axis& axis) {
  if (chart.groups.size() != 1 || chart.labels.size() > 8 || !chart.groups[0].low.empty()) return "";
  std::string out;
  const std::size_t n = chart.labels.size();
  for (std::size_t i = 0; i < n; ++i) {
    const double v = chart.groups[0].values[i];
    const Slot s = slot(chart, i, 0);
    if (std::isfinite(v))
      out += fmt::format("<span class=\"bv{}{}\" style=\"left:{:.4g}%;top:{:.4g}%\">{}</span>", v < 0 ? " below" : "",
                         n > 5 ? " tight" : "", 100 * (s.left + s.width / 2), 100 * (1 - axis.at(v)), number(v, 3));
  }
  return out;
}

std::string upright(const BarChart& chart, const Axis& axis, const std::string& what) {
  std::string svg;
  for (std::size_t k = 0; k < chart.groups.size(); ++k) svg += upright_group(chart, axis, k);
  svg += fmt::format("<path class=\"zero\" d=\"M0 {0:.0f}H{1:.0f}\"/>", (1 - axis.at(0)) * kBox, kBox);
  if (std::isfinite(chart.level))
    svg += fmt::format("<path class=\"level\" d=\"M0 {:.0f}H{:.0f}\"/>", (1 - axis.at(chart.level)) * kBox, kBox);
  return plot_html({.what = what,
                    .y_label = chart.y_label,
                    .x = label_ticks(chart),
                    .y = ticks_of(axis),
                    .svg = svg,
                    .over = values_html(chart, axis)});
}

std::string legend(const BarChart& chart) {
  std::vector<LegendEntry> entries;
  if (chart.groups.size() > 1)
    for (std::size_t k = 0; k < chart.groups.size(); ++k)
      entries.push_back({chart.groups[k].name, static_cast<i64>(k)});
  if (std::isfinite(chart.level))
    entries.push_back({fmt::format("{} {}", chart.level_name, number(chart.level, 3)), -1});
  return legend_html(entries);
}

std::string table(const BarChart& chart) {
  std::vector<std::string> header = {""};
  for (const Group& g : chart.groups) header.push_back(g.name.empty() ? chart.y_label : g.name);
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < chart.labels.size(); ++i) {
    rows.push_back({chart.labels[i]});
    for (const Group& g : chart.groups) {
      std::string cell = number(g.values[i], 5);
      if (!g.low.empty()) cell += fmt::format(" ({} to {})", number(g.low[i]), number(g.high[i]));
      rows.back().push_back(cell);
    }
  }
  return data_table(header, rows);
}

nlohmann::json data(const BarChart& chart) {
  nlohmann::json labels = nlohmann::json::array(), groups = nlohmann::json::array();
  for (const std::string& label : chart.labels) labels.push_back(clean(label));
  for (const Group& g : chart.groups) {
    nlohmann::json one = {{"n", clean(g.name.empty() ? chart.y_label : g.name)}, {"v", numbers(g.values)}};
    if (!g.low.empty()) one["l"] = numbers(g.low), one["h"] = numbers(g.high);
    groups.push_back(one);
  }
  return {{"labels", labels}, {"g", groups}};
}

}  // namespace

Drawn draw(const BarChart& chart) {
  check(chart);
  Drawn drawn{.kind = "bar-chart", .categories = static_cast<i64>(chart.groups.size())};
  for (const Group& g : chart.groups)
    drawn.points += std::count_if(g.values.begin(), g.values.end(), [](double v) { return std::isfinite(v); });
  if (drawn.points == 0) return drawn;
  const Axis axis = axis_from_zero(chart);
  const std::string what = fmt::format("{}: {} of {} bars, axis from {} to {}", chart.title, chart.y_label,
                                       drawn.points, number(axis.low), number(axis.high));
  drawn.body = legend(chart) + (lying(chart) ? lying_bars(chart, what) : upright(chart, axis, what));
  drawn.data = table(chart) + data_element(data(chart));
  return drawn;
}

}  // namespace moegrad::report
