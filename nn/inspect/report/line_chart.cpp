#include "nn/inspect/report/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/inspect/report/html.h"
#include "nn/inspect/report/reduce.h"

namespace moegrad::report {
namespace {

constexpr i64 kPoints = 6000;        // of all lines of a chart together
constexpr std::size_t kDots = 20;    // points of a line that all have a dot
constexpr std::size_t kDashes = 24;  // lines that are told apart by dashes, too
constexpr i64 kBuckets = 400;        // of a line: a chart is 500 to 1000 pixels wide

void check(const LineChart& chart) {
  for (const Series& s : chart.series) {
    const auto fits = [&](const std::vector<double>& v) { return v.size() == s.x.size(); };
    const bool band = !s.low.empty() || !s.high.empty();
    if (!fits(s.y) || (band && (!fits(s.low) || !fits(s.high))))
      misfit("line chart", chart.title, "x, y and a band's low and high must be equally many",
             fmt::format("series '{}' with {}, {}, {} and {}", s.name, s.x.size(), s.y.size(), s.low.size(),
                         s.high.size()));
  }
}

bool whole(const LineChart& chart) {
  for (const Series& s : chart.series)
    for (const double x : s.x)
      if (x != std::round(x)) return false;
  return true;
}

struct Range {
  double low = kNoValue, high = kNoValue;
  void take(double v) {
    if (!std::isfinite(v)) return;
    low = std::fmin(low, v);
    high = std::fmax(high, v);
  }
  void take(const std::vector<double>& values) {
    for (const double v : values) take(v);
  }
  bool empty() const { return std::isnan(low); }
};

struct Sheet {
  const LineChart& chart;
  std::vector<Line> lines;
  Axis x, y;
};

// The strokes of a line: one path, which begins anew after a gap.
std::string stroke(const Sheet& s, const Line& line) {
  std::string path;
  bool pen = false;
  for (std::size_t i = 0; i < line.x.size(); ++i) {
    if (!std::isnan(line.y[i])) path += (pen ? "L" : "M") + box_point(s.x.at(line.x[i]), s.y.at(line.y[i]));
    pen = !std::isnan(line.y[i]);
  }
  return path;
}

// A dot for every point of a short line, and for every point between two gaps.
std::string dots(const Sheet& s, const Line& line) {
  const std::size_t n = line.x.size();
  const auto gap = [&](std::size_t i) { return i >= n || std::isnan(line.y[i]); };  // before the first is after all
  std::string path;
  for (std::size_t i = 0; i < n; ++i)
    if (!gap(i) && (n <= kDots || (gap(i - 1) && gap(i + 1))))
      path += fmt::format("M{}h0", box_point(s.x.at(line.x[i]), s.y.at(line.y[i])));
  return path;
}

// The area between low and high of points [begin, end), there along the upper edge, back along the lower.
void append_area(std::string& path, const Sheet& s, const Line& line, std::size_t begin, std::size_t end) {
  if (end - begin < 2) return;
  for (std::size_t i = begin; i < end; ++i)
    path += (i == begin ? "M" : "L") + box_point(s.x.at(line.x[i]), s.y.at(line.high[i]));
  for (std::size_t i = end; i-- > begin;) path += "L" + box_point(s.x.at(line.x[i]), s.y.at(line.low[i]));
  path += "Z";
}

std::string band(const Sheet& s, const Line& line) {
  if (line.low.empty()) return "";
  std::string path;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= line.x.size(); ++i) {
    if (i < line.x.size() && !std::isnan(line.low[i]) && !std::isnan(line.high[i])) continue;
    append_area(path, s, line, begin, i);
    begin = i + 1;
  }
  return path;
}

std::string drawing(const Sheet& s) {
  std::string areas, strokes;
  for (std::size_t k = 0; k < s.lines.size(); ++k) {
    if (const std::string path = band(s, s.lines[k]); !path.empty())
      areas += fmt::format("<path class=\"area e{}\" d=\"{}\"/>", k, path);
    const i64 dash = s.lines.size() <= kDashes ? static_cast<i64>(k / 8 % 3) : 0;
    strokes += fmt::format("<path class=\"stroke e{} d{}\" d=\"{}\"/>", k, dash, stroke(s, s.lines[k]));
    if (const std::string path = dots(s, s.lines[k]); !path.empty())
      strokes += fmt::format("<path class=\"dots e{}\" d=\"{}\"/>", k, path);
  }
  std::string level;
  if (const double y = s.y.at(s.chart.level); std::isfinite(y))
    level = fmt::format("<path class=\"level\" d=\"M0 {:.0f}H{:.0f}\"/>", (1 - y) * kBox, kBox);
  return areas + level + strokes;
}

std::string spoken(const Sheet& s) {
  std::string out = fmt::format("{}: {} over {}", s.chart.title, s.chart.y_label, s.chart.x_label);
  for (std::size_t k = 0; k < s.lines.size() && k < 6; ++k) {
    Range range;
    range.take(s.lines[k].low.empty() ? s.lines[k].y : s.lines[k].low);
    range.take(s.lines[k].high);
    if (!range.empty())
      out += fmt::format("; {} from {} to {}", s.chart.series[k].name, number(range.low), number(range.high));
  }
  return out;
}

std::string legend(const LineChart& chart) {
  std::vector<LegendEntry> entries;
  if (chart.series.size() > 1 || std::isfinite(chart.level))
    for (std::size_t k = 0; k < chart.series.size(); ++k)
      entries.push_back({chart.series[k].name, static_cast<i64>(k)});
  if (std::isfinite(chart.level))
    entries.push_back({fmt::format("{} {}", chart.level_name, number(chart.level, 3)), -1});
  return legend_html(entries);
}

std::string table(const Sheet& s) {
  std::map<double, std::vector<std::string>> rows;
  for (std::size_t k = 0; k < s.lines.size(); ++k)
    for (std::size_t i = 0; i < s.lines[k].x.size(); ++i) {
      auto& row = rows.try_emplace(s.lines[k].x[i], s.lines.size() + 1).first->second;
      row[0] = number(s.lines[k].x[i], 7);
      row[k + 1] = number(s.lines[k].y[i], 5);
    }
  std::vector<std::string> header = {s.chart.x_label};
  for (const Series& series : s.chart.series) header.push_back(series.name);
  std::vector<std::vector<std::string>> list;
  for (auto& [x, row] : rows) list.push_back(std::move(row));
  return data_table(header, list);
}

nlohmann::json data(const Sheet& s) {
  nlohmann::json series = nlohmann::json::array();
  for (std::size_t k = 0; k < s.lines.size(); ++k) {
    const Line& line = s.lines[k];
    nlohmann::json one = {{"n", clean(s.chart.series[k].name)}, {"x", numbers(line.x)}, {"y", numbers(line.y)}};
    if (!line.low.empty()) one["l"] = numbers(line.low), one["h"] = numbers(line.high);
    series.push_back(one);
  }
  return {{"x", {s.x.low, s.x.high}},
          {"y", {s.y.low, s.y.high}},
          {"log", s.y.log},
          {"xl", clean(s.chart.x_label)},
          {"s", series}};
}

// What a point stands for, where a series holds more values than the screen.
std::string remark(const Sheet& s) {
  double most = 1;
  for (const Line& line : s.lines) most = std::max(most, line.mean_of);
  if (most <= 1) return "";
  return fmt::format("Points are means of about {:.0f} values; bands reach from the smallest to the largest.", most);
}

}  // namespace

Drawn draw(const LineChart& chart) {
  check(chart);
  Drawn drawn{.kind = "line-chart", .categories = static_cast<i64>(chart.series.size())};
  Sheet sheet{chart, {}, {}, {}};
  const i64 buckets = std::clamp<i64>(kPoints / std::max<i64>(1, drawn.categories), 60, kBuckets);
  Range x, y;
  for (const Series& s : chart.series) {
    sheet.lines.push_back(reduce(s, buckets, chart.log_y));
    const Line& line = sheet.lines.back();
    drawn.points += line.values;
    x.take(line.x);
    for (const auto* values : {&line.y, &line.low, &line.high}) y.take(*values);
  }
  if (drawn.points == 0) return drawn;
  if (!chart.log_y || chart.level > 0) y.take(chart.level);
  sheet.x = position_axis(x.low, x.high, whole(chart));
  sheet.y = value_axis(y.low, y.high, chart.log_y);
  Ticks across = ticks_of(sheet.x);
  across.lines = false;
  drawn.body = legend(chart) + plot_html({.what = spoken(sheet),
                                          .x_label = chart.x_label,
                                          .y_label = chart.y_label,
                                          .x = across,
                                          .y = ticks_of(sheet.y),
                                          .svg = drawing(sheet)});
  drawn.remark = remark(sheet);
  drawn.data = table(sheet) + data_element(data(sheet));
  return drawn;
}

}  // namespace moegrad::report
