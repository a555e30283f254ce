#include "nn/inspect/load_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moegrad {
namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

// What expert e has of a token.
double amount(const RoutingMap& map, std::size_t cell) {
  return map.soft ? map.weight[cell] : static_cast<double>(map.slots[cell]);
}

void add_positions(const RoutingMap& map, LayerLoad& l) {
  const i64 positions = static_cast<i64>(l.tokens_at.size());
  for (i64 token = 0; token < map.groups * map.tokens; ++token) {
    const i64 position = token % positions;
    ++l.tokens_at[at(position)];
    for (i64 e = 0; e < map.experts; ++e)
      l.load_at[at(position * map.experts + e)] += amount(map, at(token * map.experts + e));
  }
}

std::string number(double value, const char* unit = "") {
  return std::isnan(value) ? "" : fmt::format("{:.2f}{}", value, unit);
}

}  // namespace

// ---- one layer

double LayerLoad::total() const { return std::reduce(load.begin(), load.end()); }

double LayerLoad::share(i64 expert) const {
  const double sum = total();
  return sum > 0 ? load.at(at(expert)) / sum : kNoValue;
}

double LayerLoad::max_over_mean() const {
  const double sum = total();
  return sum > 0 ? *std::max_element(load.begin(), load.end()) * static_cast<double>(experts) / sum : kNoValue;
}

double LayerLoad::variation() const {
  const double sum = total();
  if (!(sum > 0)) return kNoValue;
  const double mean = sum / static_cast<double>(experts);
  double squares = 0;
  for (const double v : load) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / static_cast<double>(experts)) / mean;
}

i64 LayerLoad::dead_experts() const { return std::count(load.begin(), load.end(), 0.0); }

double LayerLoad::dropped_share() const {
  return choices > 0 ? static_cast<double>(dropped) / static_cast<double>(choices) : kNoValue;
}

// ---- all layers

LoadStatistics::LoadStatistics(i64 positions) : positions_(positions) {
  if (positions < 0) throw Error(fmt::format("load statistics: positions must be at least 0; got {}", positions));
}

void LoadStatistics::routed(const Context& context, const Routing& routing) {
  RoutingMaps one;
  one.routed(context, routing);
  add(one.all().front());
}

LayerLoad& LoadStatistics::layer_of(const RoutingMap& map) {
  const bool whole = positions_ == 0 || (map.groups * map.tokens) % positions_ == 0;
  const i64 positions = !whole ? 0 : positions_ > 0 ? positions_ : map.tokens;
  for (LayerLoad& l : layers_) {
    if (l.layer != map.layer) continue;
    if (l.experts != map.experts || static_cast<i64>(l.tokens_at.size()) != positions)
      throw Error(fmt::format(
          "load statistics: a layer must keep its experts and positions; got {} and {} for '{}', which had {} and {}",
          map.experts, positions, map.layer, l.experts, l.tokens_at.size()));
    return l;
  }
  LayerLoad& l = layers_.emplace_back();
  l.layer = map.layer;
  l.experts = map.experts;
  l.soft = map.soft;
  l.load.resize(at(map.experts));
  l.load_at.resize(at(positions * map.experts));
  l.tokens_at.resize(at(positions));
  return l;
}

void LoadStatistics::add(const RoutingMap& map) {
  LayerLoad& l = layer_of(map);
  l.tokens += map.groups * map.tokens;
  l.dropped += map.dropped;
  l.choices += map.choices;
  for (std::size_t cell = 0; cell < map.weight.size(); ++cell) l.load[cell % l.load.size()] += amount(map, cell);
  if (!l.tokens_at.empty()) add_positions(map, l);
}

const LayerLoad& LoadStatistics::of(const std::string& layer) const {
  for (const LayerLoad& l : layers_)
    if (l.layer == layer) return l;
  throw Error(fmt::format("load statistics: the layer must have made a routing; got '{}'", layer));
}

// ---- figures

BarChart expert_load_chart(const LayerLoad& l, LoadUnit unit) {
  const bool percent = unit == LoadUnit::percent;
  const double total = l.total(), scale = !percent ? 1 : total > 0 ? 100 / total : 0;
  BarChart chart;
  chart.title = fmt::format("Load of {}", shown_layer(l.layer));
  chart.y_label = percent ? "percent" : l.soft ? "weight" : "slots";
  chart.groups.push_back({l.soft ? "weight" : "slots in use", {}});
  for (i64 e = 0; e < l.experts; ++e) {
    chart.labels.push_back(std::to_string(e));
    chart.groups[0].values.push_back(scale * l.load[at(e)]);
  }
  chart.level = scale * total / static_cast<double>(l.experts);
  chart.level_name = "even share";
  return chart;
}

std::vector<BarChart> expert_load_charts(const LoadStatistics& loads, LoadUnit unit) {
  std::vector<BarChart> charts;
  for (const LayerLoad& l : loads.layers())
    if (l.experts > 1) charts.push_back(expert_load_chart(l, unit));
  return charts;
}

HeatMap position_load(const LayerLoad& l) {
  if (l.tokens_at.empty())
    throw Error(fmt::format("position_load: tokens must be whole sequences; those of '{}' are not", l.layer));
  HeatMap map;
  map.title = fmt::format("Load of {} by position", shown_layer(l.layer));
  map.x_label = "position", map.y_label = "expert";
  map.value_label = l.soft ? "weight per token" : "slots per token";
  map.low = 0;
  for (std::size_t p = 0; p < l.tokens_at.size(); ++p) map.columns.push_back(static_cast<double>(p));
  for (i64 e = 0; e < l.experts; ++e) {
    map.rows.push_back(std::to_string(e));
    for (std::size_t p = 0; p < l.tokens_at.size(); ++p)
      map.values.push_back(
          l.tokens_at[p] > 0 ? l.load_at[p * at(l.experts) + at(e)] / static_cast<double>(l.tokens_at[p]) : kNoValue);
  }
  map.level = l.tokens > 0 ? l.total() / static_cast<double>(l.tokens * l.experts) : kNoValue;
  return map;
}

Table imbalance_table(const LoadStatistics& loads) {
  Table table;
  table.title = "Load of experts";
  table.header = {"layer", "experts", "load", "max / mean", "variation", "dead experts", "dropped"};
  for (const LayerLoad& l : loads.layers())
    table.rows.push_back({shown_layer(l.layer), std::to_string(l.experts),
                          l.soft ? fmt::format("{:.1f}", l.total()) : fmt::format("{:.0f}", l.total()),
                          number(l.max_over_mean()), number(l.variation()), std::to_string(l.dead_experts()),
                          number(100 * l.dropped_share(), " %")});
  table.note = "max / mean is 1 and variation 0 where all experts have as much to do.";
  return table;
}

}  // namespace moegrad
