#include "nn/inspect/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace moegrad {
namespace {

using nlohmann::json;

constexpr double kLargest = 1e300;

double mean_step(i64 steps, i64 adds) { return static_cast<double>(steps) / static_cast<double>(adds); }

// Of a list of curves or layers, by name; null if there is none.
template <class T> const T* find_named(const std::vector<T>& list, const std::string& name) {
  const auto at = std::find_if(list.begin(), list.end(), [&](const T& x) { return x.name == name; });
  return at == list.end() ? nullptr : &*at;
}

void check_step(const std::string& name, i64 step, i64 last) {
  if (step < 0 || step < last)
    throw Error(fmt::format("history: steps must be at least 0 and not fall; got {} for '{}', whose last is {}", step,
                            name, last));
}

// ---- JSON

[[noreturn]] void bad(const char* what) { throw IoError(fmt::format("history: {}", what)); }

json to_json(const Gathered& g) { return {g.count, g.sum, g.low, g.high}; }
json to_json(const CurveEntry& e) { return {e.adds, e.steps, to_json(e.values)}; }
json to_json(const LoadEntry& e) {
  return {e.adds, e.steps, e.load, to_json(e.dropped), to_json(e.entropy), to_json(e.dead)};
}

i64 whole(const json& j) {
  if (!j.is_number_integer() || j.get<i64>() < 0) bad("a whole number >= 0 was expected");
  return j.get<i64>();
}
void read(const json& j, Gathered& g) {
  g = {whole(j.at(0)), j.at(1).get<double>(), j.at(2).get<double>(), j.at(3).get<double>()};
}
void read(const json& j, CurveEntry& e) {
  e.adds = whole(j.at(0)), e.steps = whole(j.at(1));
  read(j.at(2), e.values);
}
void read(const json& j, LoadEntry& e) {
  e.adds = whole(j.at(0)), e.steps = whole(j.at(1));
  e.load = j.at(2).get<std::vector<double>>();
  read(j.at(3), e.dropped), read(j.at(4), e.entropy), read(j.at(5), e.dead);
}

template <class Entry> json to_json(const Thinned<Entry>& t) {
  json list = json::array();
  for (const auto& s : t.stretches()) list.push_back({s.number, to_json(s.entry)});
  return {{"level", t.level()}, {"stretches", list}};
}

template <class Entry> Thinned<Entry> thinned_of(const json& j) {
  const i64 level = whole(j.at("level"));
  if (level > 62) bad("the level must be at most 62");
  std::vector<typename Thinned<Entry>::Stretch> list;
  for (const json& s : j.at("stretches")) {
    list.push_back({whole(s.at(0)), {}});
    read(s.at(1), list.back().entry);
    if (list.back().entry.adds < 1) bad("a stretch must have steps");
    if (list.size() > 1 && list[list.size() - 2].number >= list.back().number) bad("stretches must be in order");
  }
  return {static_cast<int>(level), std::move(list)};
}

std::string text_of(const char* format, const json& content) {
  try {
    return json{{"format", format}, {"version", 1}, {"content", content}}.dump();
  } catch (const json::exception& e) {
    throw IoError(fmt::format("history: names must be UTF-8: {}", e.what()));
  }
}

// Calls read_one for every element of the list in a text of that format.
template <class F> void read_text(const std::string& text, const char* format, const F& read_one) {
  try {
    const json j = json::parse(text);
    if (j.at("format") != format || j.at("version") != 1) bad("the text is of another format or version");
    std::set<std::string> names;
    for (const json& one : j.at("content")) {
      if (!names.insert(one.at("name").get<std::string>()).second) bad("a name is there twice");
      read_one(one);
    }
  } catch (const json::exception& e) {
    throw IoError(fmt::format("history: the text must be that of a {}: {}", format, e.what()));
  }
}

}  // namespace

// ---- what is kept

Gathered Gathered::of(double value) {
  return std::abs(value) <= kLargest ? Gathered{1, value, value, value} : Gathered{};  // false for NaN, too
}

void Gathered::merge(const Gathered& later) {
  if (later.count == 0) return;
  low = count == 0 ? later.low : std::min(low, later.low);
  high = count == 0 ? later.high : std::max(high, later.high);
  count += later.count;
  sum += later.sum;
}

void CurveEntry::merge(const CurveEntry& later) {
  adds += later.adds;
  steps += later.steps;
  values.merge(later.values);
}

void LoadEntry::merge(const LoadEntry& later) {
  adds += later.adds;
  steps += later.steps;
  load.resize(later.load.size());
  for (std::size_t e = 0; e < load.size(); ++e) load[e] += later.load[e];
  dropped.merge(later.dropped);
  entropy.merge(later.entropy);
  dead.merge(later.dead);
}

// ---- scalars

const ScalarHistory::Curve* ScalarHistory::find(const std::string& name) const { return find_named(curves_, name); }

void ScalarHistory::add(i64 step, const std::string& name, double value) {
  const Curve* known = find(name);
  check_step(name, step, known ? known->last_step : 0);
  if (!known) curves_.push_back({.name = name, .entries = {}});
  Curve& curve = known ? curves_[static_cast<std::size_t>(known - curves_.data())] : curves_.back();
  curve.last_step = step;
  curve.last = value;
  curve.entries.add(step, {1, step, Gathered::of(value)}, kMost);
}

std::vector<std::string> ScalarHistory::names() const {
  std::vector<std::string> names;
  for (const Curve& c : curves_) names.push_back(c.name);
  return names;
}

bool ScalarHistory::has(const std::string& name) const { return find(name) != nullptr; }

std::vector<ScalarHistory::Point> ScalarHistory::points(const std::string& name) const {
  std::vector<Point> points;
  if (const Curve* curve = find(name))
    for (const auto& [number, e] : curve->entries.stretches()) {
      const bool some = e.values.count > 0;
      points.push_back({mean_step(e.steps, e.adds), e.values.mean(), some ? e.values.low : kNoValue,
                        some ? e.values.high : kNoValue});
    }
  return points;
}

double ScalarHistory::last(const std::string& name) const {
  const Curve* curve = find(name);
  return curve ? curve->last : kNoValue;
}

Series ScalarHistory::series(const std::string& name, const std::string& label) const {
  Series s{.name = label.empty() ? name : label, .x = {}, .y = {}};
  bool merged = false;
  for (const Point& p : points(name)) {
    s.x.push_back(p.step);
    s.y.push_back(p.value);
    s.low.push_back(p.low);
    s.high.push_back(p.high);
    merged = merged || p.low < p.high;
  }
  if (!merged) s.low.clear(), s.high.clear();
  return s;
}

LineChart ScalarHistory::chart(const std::string& title, const std::vector<std::string>& names,
                               const std::string& y_label) const {
  LineChart chart{.title = title, .x_label = "step", .y_label = y_label, .series = {}};
  for (const std::string& name : names)
    if (has(name)) chart.series.push_back(series(name));
  return chart;
}

std::string ScalarHistory::text() const {
  json list = json::array();
  for (const Curve& c : curves_)
    list.push_back({{"name", c.name}, {"last_step", c.last_step}, {"last", c.last}, {"entries", to_json(c.entries)}});
  return text_of("moegrad.scalar_history", list);
}

ScalarHistory ScalarHistory::from_text(const std::string& text) {
  ScalarHistory history;
  read_text(text, "moegrad.scalar_history", [&](const json& j) {
    const json& last = j.at("last");  // what is not finite is null in JSON
    history.curves_.push_back({j.at("name").get<std::string>(), whole(j.at("last_step")),
                               last.is_null() ? kNoValue : last.get<double>(),
                               thinned_of<CurveEntry>(j.at("entries"))});
  });
  return history;
}

// ---- loads

namespace {

// Of one layer in one step, whatever the number of its routings.
struct LayerStep {
  std::vector<double> load;
  double dropped = 0, choices = 0, entropy = 0, entropies = 0;
};

void count_load(const RoutingMap& map, std::vector<double>& load) {
  load.resize(static_cast<std::size_t>(map.experts));
  if (!map.soft) {
    for (std::size_t e = 0; e < load.size(); ++e) load[e] += static_cast<double>(map.load[e]);
    return;
  }
  for (std::size_t i = 0; i < map.weight.size(); ++i) load[i % load.size()] += map.weight[i];
}

void count(const RoutingMap& map, LayerStep& s) {
  count_load(map, s.load);
  s.dropped += static_cast<double>(map.dropped);
  s.choices += static_cast<double>(map.choices);
  if (!std::isfinite(map.entropy)) return;
  const auto tokens = static_cast<double>(map.groups * map.tokens);
  s.entropy += tokens * map.entropy;
  s.entropies += tokens;
}

LoadEntry entry_of(i64 step, const LayerStep& s) {
  const auto dead = std::count(s.load.begin(), s.load.end(), 0.0);
  return {.adds = 1,
          .steps = step,
          .load = s.load,
          .dropped = Gathered::of(s.dropped / s.choices),  // 0 / 0 is left out
          .entropy = Gathered::of(s.entropy / s.entropies),
          .dead = Gathered::of(static_cast<double>(dead))};
}

}  // namespace

const LoadHistory::LayerLoads* LoadHistory::find(const std::string& layer) const { return find_named(layers_, layer); }

void LoadHistory::check(i64 step, const std::vector<RoutingMap>& maps) const {
  std::map<std::string, i64> experts;
  for (const RoutingMap& map : maps) {
    const LayerLoads* known = find(map.layer);
    check_step(map.layer, step, known ? known->last_step : 0);
    const i64 before = experts.emplace(map.layer, known ? known->experts : map.experts).first->second;
    if (before != map.experts)
      throw Error(fmt::format("history: a layer must keep its number of experts; got {} for '{}', which had {}",
                              map.experts, map.layer, before));
  }
}

void LoadHistory::add(i64 step, const std::vector<RoutingMap>& maps) {
  check(step, maps);
  std::map<std::string, LayerStep> steps;
  for (const RoutingMap& map : maps) {
    count(map, steps[map.layer]);
    if (!find(map.layer)) layers_.push_back({map.layer, map.experts, step, map.soft, {}});
  }
  for (LayerLoads& layer : layers_)
    if (const auto at = steps.find(layer.name); at != steps.end()) {
      layer.last_step = step;
      layer.entries.add(step, entry_of(step, at->second), kMost);
    }
}

std::vector<std::string> LoadHistory::layers() const {
  std::vector<std::string> names;
  for (const LayerLoads& layer : layers_) names.push_back(layer.name);
  return names;
}

HeatMap LoadHistory::load(const std::string& name) const {
  const LayerLoads* layer = find(name);
  if (!layer) throw Error(fmt::format("history: the layer must have been added; got '{}'", name));
  HeatMap map;
  map.title = fmt::format("Load of {}", shown_layer(name));
  map.x_label = "step", map.y_label = "expert";
  map.value_label = layer->soft ? "share of the weights" : "share of the slots in use";
  map.low = 0;
  map.level = 1 / static_cast<double>(layer->experts);
  const auto& stretches = layer->entries.stretches();
  for (const auto& s : stretches) map.columns.push_back(mean_step(s.entry.steps, s.entry.adds));
  for (std::size_t e = 0; e < static_cast<std::size_t>(layer->experts); ++e) {
    map.rows.push_back(std::to_string(e));
    for (const auto& [number, entry] : stretches) {
      double total = 0;
      for (const double v : entry.load) total += v;
      map.values.push_back(total > 0 ? entry.load[e] / total : kNoValue);
    }
  }
  return map;
}

LineChart LoadHistory::curves(const char* title, const char* y_label, Gathered LoadEntry::*what, double scale) const {
  LineChart chart{.title = title, .x_label = "step", .y_label = y_label, .series = {}};
  for (const LayerLoads& layer : layers_) {
    Series s{.name = shown_layer(layer.name), .x = {}, .y = {}};
    bool some = false, merged = false;
    for (const auto& [number, entry] : layer.entries.stretches()) {
      const Gathered& g = entry.*what;
      s.x.push_back(mean_step(entry.steps, entry.adds));
      s.y.push_back(scale * g.mean());
      s.low.push_back(g.count > 0 ? scale * g.low : kNoValue);
      s.high.push_back(g.count > 0 ? scale * g.high : kNoValue);
      some = some || g.count > 0;
      merged = merged || g.low < g.high;
    }
    if (!merged) s.low.clear(), s.high.clear();
    if (some) chart.series.push_back(std::move(s));
  }
  return chart;
}

LineChart LoadHistory::dropped() const { return curves("Dropped", "percent", &LoadEntry::dropped, 100); }
LineChart LoadHistory::entropy() const { return curves("Router entropy", "nats", &LoadEntry::entropy, 1); }
LineChart LoadHistory::dead_experts() const {
  return curves("Experts without a token", "experts", &LoadEntry::dead, 1);
}

std::vector<Figure> LoadHistory::figures() const {
  std::vector<Figure> figures;
  for (const LayerLoads& layer : layers_)
    if (layer.experts > 1) figures.emplace_back(load(layer.name));
  for (LineChart chart : {dropped(), entropy(), dead_experts()})
    if (!chart.series.empty()) figures.emplace_back(std::move(chart));
  return figures;
}

std::string LoadHistory::text() const {
  json list = json::array();
  for (const LayerLoads& l : layers_)
    list.push_back({{"name", l.name},
                    {"experts", l.experts},
                    {"last_step", l.last_step},
                    {"soft", l.soft},
                    {"entries", to_json(l.entries)}});
  return text_of("moegrad.load_history", list);
}

LoadHistory LoadHistory::from_text(const std::string& text) {
  LoadHistory history;
  read_text(text, "moegrad.load_history", [&](const json& j) {
    LayerLoads layer{j.at("name").get<std::string>(), whole(j.at("experts")), whole(j.at("last_step")),
                     j.at("soft").get<bool>(), thinned_of<LoadEntry>(j.at("entries"))};
    for (const auto& s : layer.entries.stretches())
      if (static_cast<i64>(s.entry.load.size()) != layer.experts) bad("a load must have one number per expert");
    history.layers_.push_back(std::move(layer));
  });
  return history;
}

}  // namespace moegrad
