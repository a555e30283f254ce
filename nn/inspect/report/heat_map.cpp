#include "nn/inspect/report/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/inspect/report/html.h"
#include "nn/inspect/report/palette.h"
#include "nn/inspect/report/png.h"

namespace moegrad::report {
namespace {

constexpr i64 kColumns = 600;  // as many as there are pixels for
constexpr i64 kPixels = 1200;  // of columns that are not equally wide
constexpr i64 kTiles = 60;     // up to here cells have a gap between them
constexpr i64 kLabelHeight = 15;

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

struct Grid {
  i64 rows = 0, columns = 0;
  std::vector<double> centres, values;
  bool even = true;  // columns equally far apart
};

bool equally_far(const std::vector<double>& x) {
  const double step = x.size() > 1 ? (x.back() - x.front()) / static_cast<double>(x.size() - 1) : 0;
  for (std::size_t i = 1; i < x.size(); ++i)
    if (std::abs(x[i] - x[i - 1] - step) > 0.01 * std::abs(step)) return false;
  return true;
}

// Means of groups of neighbouring columns, at most kColumns of them.
Grid grid_of(const HeatMap& map) {
  Grid g{.rows = static_cast<i64>(map.rows.size())};
  const i64 all = static_cast<i64>(map.columns.size()), group = (all + kColumns - 1) / kColumns;
  for (i64 c = 0; c < all; c += group) {
    const i64 end = std::min(all, c + group);
    g.centres.push_back((map.columns[at(c)] + map.columns[at(end - 1)]) / 2);
  }
  g.columns = static_cast<i64>(g.centres.size());
  g.even = equally_far(g.centres);
  g.values.assign(at(g.rows * g.columns), kNoValue);
  for (i64 r = 0; r < g.rows; ++r)
    for (i64 k = 0; k < g.columns; ++k) {
      double sum = 0, n = 0;
      for (i64 c = k * group; c < std::min(all, (k + 1) * group); ++c)
        if (const double v = map.values[at(r * all + c)]; std::isfinite(v)) sum += v, ++n;
      if (n > 0) g.values[at(r * g.columns + k)] = sum / n;
    }
  return g;
}

// Columns of unequal width, as pixels that are equally wide.
std::vector<double> stretched(const Grid& g) {
  const std::vector<double> edge = edges_of(g.centres);
  std::vector<double> out;
  for (i64 r = 0; r < g.rows; ++r)
    for (i64 p = 0; p < kPixels; ++p) {
      const double x = edge.front() + (static_cast<double>(p) + 0.5) * (edge.back() - edge.front()) / kPixels;
      const auto right = std::upper_bound(edge.begin() + 1, edge.end() - 1, x);
      out.push_back(g.values[at(r * g.columns + (right - edge.begin() - 1))]);
    }
  return out;
}

Ticks row_ticks(const std::vector<std::string>& rows, i64 height) {
  Ticks ticks{.lines = false};
  const i64 n = static_cast<i64>(rows.size());
  i64 every = 1;
  for (const i64 step : {1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 256, 512, 1024}) {
    every = step;
    if (height * step >= n * kLabelHeight) break;
  }
  for (i64 r = 0; r < n; r += every) {
    ticks.at.push_back(1 - (static_cast<double>(r) + 0.5) / static_cast<double>(n));
    ticks.labels.push_back(rows[at(r)]);
  }
  return ticks;
}

Ticks column_ticks(const Grid& g, const std::vector<double>& edge) {
  Ticks ticks{.lines = false};
  const bool whole = std::all_of(g.centres.begin(), g.centres.end(), [](double c) { return c == std::round(c); });
  const std::vector<double> values =
      g.columns <= 8 && g.even ? g.centres : round_ticks(edge.front(), edge.back(), 7, whole);
  for (const double v : values) ticks.at.push_back((v - edge.front()) / (edge.back() - edge.front()));
  ticks.labels = tick_labels(values);
  return ticks;
}

struct Scale {
  double low, high;
  bool more;  // there are values above high
};

// The ends of the scale: those that were given, otherwise of the values; never the same. Few values far above all
// others would leave one colour for the rest, so that the scale ends below them.
Scale scale_of(const HeatMap& map) {
  std::vector<double> sorted;
  std::copy_if(map.values.begin(), map.values.end(), std::back_inserter(sorted),
               [](double v) { return std::isfinite(v); });
  std::sort(sorted.begin(), sorted.end());
  const double low = std::isfinite(map.low) ? map.low : sorted.front(), most = sorted.back();
  double high = map.high;
  if (!std::isfinite(high)) {
    high = sorted.size() < 100 ? most : sorted[(sorted.size() - 1) * 98 / 100];
    if (most - low < 1.6 * (high - low) || !(high > low)) high = most;
  }
  if (!(low < high)) high = low + (low == 0 ? 1 : std::abs(low));
  return {low, high, most > high};
}

i64 height_of(i64 rows) { return std::clamp<i64>(rows * (rows <= 10 ? 22 : rows <= 32 ? 13 : 7), 66, 420); }

void check(const HeatMap& map) {
  if (map.values.size() != map.rows.size() * map.columns.size())
    misfit("heat map", map.title, "there must be a value for every row and column",
           fmt::format("{} for {} x {}", map.values.size(), map.rows.size(), map.columns.size()));
}

nlohmann::json data(const HeatMap& map, const Grid& g) {
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& row : map.rows) rows.push_back(clean(row));
  return {{"rows", rows},
          {"cols", numbers(g.centres)},
          {"v", numbers(g.values)},
          {"xl", clean(map.x_label)},
          {"yl", clean(map.y_label)},
          {"vl", clean(map.value_label)}};
}

std::string picture_html(const Grid& g, const Scale& scale) {
  const std::string uri = g.even ? picture_of(g.values, g.rows, g.columns, scale.low, scale.high)
                                 : picture_of(stretched(g), g.rows, kPixels, scale.low, scale.high);
  std::string html = fmt::format("<img class=\"cells\" alt=\"\" src=\"{}\">", uri);
  if (g.even && g.columns <= kTiles && g.rows <= kTiles)
    html += fmt::format("<div class=\"tiles\" style=\"--nx:{};--ny:{}\"></div>", g.columns, g.rows);
  return html;
}

}  // namespace

std::vector<double> edges_of(const std::vector<double>& centres) {
  const std::size_t n = centres.size();
  if (n == 1) return {centres[0] - 0.5, centres[0] + 0.5};
  std::vector<double> edges = {centres[0] - (centres[1] - centres[0]) / 2};
  for (std::size_t i = 1; i < n; ++i) edges.push_back((centres[i - 1] + centres[i]) / 2);
  edges.push_back(centres[n - 1] + (centres[n - 1] - centres[n - 2]) / 2);
  return edges;
}

std::string picture_of(const std::vector<double>& values, i64 rows, i64 columns, double low, double high) {
  std::vector<unsigned char> pixels;
  pixels.reserve(values.size() * 4);
  for (const double v : values) {
    const bool some = std::isfinite(v);
    const Rgb c = some ? sequential((v - low) / (high - low)) : Rgb{};
    for (const unsigned char byte : {c.r, c.g, c.b, static_cast<unsigned char>(some ? 255 : 0)}) pixels.push_back(byte);
  }
  return png_uri(rows, columns, 4, pixels);
}

Drawn draw(const HeatMap& map) {
  check(map);
  Drawn drawn{.kind = "heat-map"};
  drawn.points = std::count_if(map.values.begin(), map.values.end(), [](double v) { return std::isfinite(v); });
  if (drawn.points == 0) return drawn;
  const Grid g = grid_of(map);
  const Scale scale = scale_of(map);
  const std::vector<double> edge = edges_of(g.centres);
  const i64 height = height_of(g.rows);
  const std::string what =
      fmt::format("{}: {} of {} rows ({}) and {} columns ({}), from {} to {}", map.title, map.value_label, g.rows,
                  map.y_label, map.columns.size(), map.x_label, number(scale.low), number(scale.high));
  drawn.body = colour_bar({.what = map.value_label,
                           .low = scale.low,
                           .high = scale.high,
                           .more = scale.more,
                           .level = map.level,
                           .level_name = map.level_name}) +
               plot_html({.what = what,
                          .x_label = map.x_label,
                          .y_label = map.y_label,
                          .x = column_ticks(g, edge),
                          .y = row_ticks(map.rows, height),
                          .most = std::max(height, 48 * g.rows),
                          .height = height,
                          .under = picture_html(g, scale)});
  drawn.data = data_element(data(map, g));
  return drawn;
}

}  // namespace moegrad::report
