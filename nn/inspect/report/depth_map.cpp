#include "nn/inspect/report/depth_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/inspect/report/heat_map.h"
#include "nn/inspect/report/html.h"

namespace moegrad::report {
namespace {

struct Scale {
  double low = 0, high = 1;
};

// From 0, as a gate is a share; to the largest.
Scale scale_of(const DepthMap& map) {
  double low = 0, high = 0;
  for (const double v : map.gates)
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  return {low, high > low ? high : low + 1};
}

// The last layer first, as it is drawn on top.
std::vector<double> from_the_top(const DepthMap& map) {
  std::vector<double> out;
  for (std::size_t l = map.layers.size(); l-- > 0;)
    for (std::size_t t = 0; t < map.tokens.size(); ++t) out.push_back(map.gates[l * map.tokens.size() + t]);
  return out;
}

std::string grid_html(const DepthMap& map, Scale scale, const std::string& what) {
  const i64 T = static_cast<i64>(map.tokens.size()), L = static_cast<i64>(map.layers.size());
  std::string out = "<div class=\"depth\"><div class=\"names\">";
  for (i64 l = L - 1; l >= 0; --l)
    out += fmt::format("<span>{}</span>", escape(map.layers[static_cast<std::size_t>(l)]));
  out += fmt::format(
      "</div><div class=\"scroll\" tabindex=\"0\"><div class=\"field\" role=\"img\" aria-label=\"{}\" "
      "style=\"--nx:{};--ny:{}\">",
      escape(what), T, L);
  out += fmt::format("<div class=\"plot\"><img class=\"cells\" alt=\"\" src=\"{}\"><div class=\"tiles\"></div></div>",
                     picture_of(from_the_top(map), L, T, scale.low, scale.high));
  out += "<div class=\"tokens\">";
  for (const std::string& token : map.tokens) out += fmt::format("<span>{}</span>", escape(visible(token)));
  return out + "</div></div></div></div>\n";
}

nlohmann::json data(const DepthMap& map) {
  nlohmann::json rows = nlohmann::json::array(), tokens = nlohmann::json::array();
  for (std::size_t l = map.layers.size(); l-- > 0;) rows.push_back(clean(map.layers[l]));
  for (const std::string& t : map.tokens) tokens.push_back(t == " " ? "\u2423" : visible(t));
  return {{"rows", rows}, {"names", tokens}, {"v", numbers(from_the_top(map))}, {"vl", "gate"}};
}

}  // namespace

Drawn draw(const DepthMap& map) {
  if (map.gates.size() != map.layers.size() * map.tokens.size())
    misfit("depth map", map.title, "there must be a gate for every layer and token",
           fmt::format("{} for {} x {}", map.gates.size(), map.layers.size(), map.tokens.size()));
  Drawn drawn{.kind = "depth-map", .points = static_cast<i64>(map.gates.size()), .wide = true};
  if (drawn.points == 0) return drawn;
  const i64 passing = std::count_if(map.gates.begin(), map.gates.end(), [](double v) { return std::isfinite(v); });
  const Scale scale = scale_of(map);
  const std::string what =
      fmt::format("{}: {} of {} pairs of token and layer are passed", map.title, passing, drawn.points);
  drawn.body = colour_bar({.what = "gate (empty: the token goes around)", .low = scale.low, .high = scale.high}) +
               grid_html(map, scale, what);
  drawn.data = data_element(data(map));
  return drawn;
}

}  // namespace moegrad::report
