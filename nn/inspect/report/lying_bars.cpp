#include "nn/inspect/report/lying_bars.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/inspect/report/html.h"

namespace moegrad::report {
namespace {

using Group = BarChart::Group;

struct Range {
  double low = kNoValue, high = kNoValue;
};

Range range_of(const BarChart& chart) {
  Range r;
  const auto take = [&](double v) {
    if (std::isfinite(v)) r = {std::fmin(r.low, v), std::fmax(r.high, v)};
  };
  take(chart.level);
  for (const Group& g : chart.groups)
    for (const auto* values : {&g.values, &g.low, &g.high})
      for (const double v : *values) take(v);
  return r;
}

struct Sheet {
  const BarChart& chart;
  Axis axis;
  bool points;
};

Sheet sheet_of(const BarChart& chart) {
  const bool ends =
      std::all_of(chart.groups.begin(), chart.groups.end(), [](const Group& g) { return !g.low.empty(); });
  const Range r = range_of(chart);
  const Axis own = value_axis(r.low, r.high);
  const bool points = ends && (own.low > 0 || own.high < 0);
  return {chart, points ? own : axis_from_zero(chart), points};
}

std::string lines(const Sheet& s) {
  std::string out;
  for (const double t : s.axis.ticks) out += fmt::format("<b style=\"left:{:.4g}%\"></b>", 100 * s.axis.at(t));
  return out;
}

std::string interval(const Sheet& s, std::size_t i, std::size_t k) {
  const Group& g = s.chart.groups[k];
  if (g.low.empty() || !std::isfinite(g.low[i]) || !std::isfinite(g.high[i])) return "";
  const double left = s.axis.at(g.low[i]), right = s.axis.at(g.high[i]);
  return fmt::format("<u class=\"e{}\" style=\"left:{:.4g}%;width:{:.4g}%\"></u>", k, 100 * left, 100 * (right - left));
}

std::string mark(const Sheet& s, std::size_t i, std::size_t k) {
  const Group& g = s.chart.groups[k];
  const double v = g.values[i];
  if (!std::isfinite(v)) return "";
  if (s.points)
    return interval(s, i, k) + fmt::format("<i class=\"e{} point\" style=\"left:{:.4g}%\"></i>", k, 100 * s.axis.at(v));
  const double zero = s.axis.at(0), end = s.axis.at(v);
  return fmt::format("<i class=\"e{}\" style=\"left:{:.4g}%;width:{:.4g}%\"></i>", k, 100 * std::min(zero, end),
                     100 * std::abs(end - zero)) +
         interval(s, i, k);
}

// A number with as many digits as its column has room for (`.value` in style.cpp).
std::string fitting(double v) {
  constexpr auto kRoom = 7;
  const auto width = [](const std::string& text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });  // of UTF-8
  };
  for (int digits = 4; digits > 1; --digits)
    if (std::string text = number(v, digits); width(text) <= kRoom) return text;
  return number(v, 1);
}

std::string bar(const Sheet& s, std::size_t i, std::size_t k) {
  std::string level;
  if (std::isfinite(s.chart.level))
    level = fmt::format("<s style=\"left:{:.4g}%\"></s>", 100 * s.axis.at(s.chart.level));
  const double v = s.chart.groups[k].values[i];
  return fmt::format("<div class=\"hbar\"><span class=\"track{}\">{}{}{}</span><span class=\"value\">{}</span></div>",
                     s.points ? " points" : "", lines(s), mark(s, i, k), level,
                     std::isfinite(v) ? fitting(v) : "\u2013");
}

std::string labels(const Sheet& s) {
  std::string out = "<div></div><div class=\"hbar\"><span class=\"track axis\">";
  for (std::size_t i = 0; i < s.axis.ticks.size(); ++i)
    out += fmt::format("<span style=\"left:{:.4g}%\"{}>{}</span>", 100 * s.axis.at(s.axis.ticks[i]),
                       i % 2 == 1 ? " class=\"alt\"" : "", escape(s.axis.labels[i]));
  return out + "</span><span class=\"value\"></span></div>";
}

}  // namespace

Axis axis_from_zero(const BarChart& chart) {
  const Range r = range_of(chart);
  return value_axis(std::min(0.0, r.low), std::max(0.0, r.high));
}

std::string lying_bars(const BarChart& chart, const std::string& what) {
  const Sheet sheet = sheet_of(chart);
  std::string out = fmt::format("<div class=\"yl\">{}</div><div class=\"hbars\" role=\"img\" aria-label=\"{}\">",
                                escape(chart.y_label), escape(what));
  for (std::size_t i = 0; i < chart.labels.size(); ++i) {
    out += fmt::format("<div class=\"hl\">{}</div><div>", escape(chart.labels[i]));
    for (std::size_t k = 0; k < chart.groups.size(); ++k) out += bar(sheet, i, k);
    out += "</div>";
  }
  return out + labels(sheet) + "</div>\n";
}

}  // namespace moegrad::report
