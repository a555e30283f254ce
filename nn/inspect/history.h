// What happened in the course of a run: numbers by name, and what mixtures did, step by step. Both stay small however
// long the run is, and can be written into a checkpoint, so that a run that goes on continues its curves.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "nn/inspect/figures.h"
#include "nn/inspect/routing_map.h"
#include "nn/inspect/thinned.h"

namespace moegrad {

/// Several values of a quantity as one: their mean, and the smallest and largest of them. Values that are not finite (or
/// beyond 1e300, whose sums might overflow) are left out.
struct Gathered {
  i64 count = 0;
  double sum = 0, low = 0, high = 0;

  static Gathered of(double value);
  void merge(const Gathered& later);
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : kNoValue; }
};

/// One stretch of a curve.
struct CurveEntry {
  i64 adds = 0, steps = 0;  ///< how many, and the sum of their steps
  Gathered values;
  void merge(const CurveEntry& later);
};

/// One stretch of a layer's loads.
struct LoadEntry {
  i64 adds = 0, steps = 0;
  std::vector<double> load;  ///< [E] sums
  Gathered dropped, entropy, dead;
  void merge(const LoadEntry& later);
};

/// Numbers by name, over the steps of a run.
///   ScalarHistory history;  history.add(step, "loss", loss);  report.figures.push_back(history.chart("Loss", {"loss"}))
///   Kept  at most kMost points of each name: neighbours are merged into their mean, with the smallest and largest as a
///         band around it (nn/inspect/thinned.h)
class ScalarHistory {
 public:
  static constexpr i64 kMost = 1000;
  struct Point {
    double step = 0;  ///< mean of those that were merged
    double value = 0, low = 0, high = 0;
  };

  /// Throws Error: the step is negative, or before the last of this name.
  void add(i64 step, const std::string& name, double value);
  /// In the order in which they came.
  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  /// None for a name without values.
  std::vector<Point> points(const std::string& name) const;
  /// The value that was added last, as it was; kNoValue where there is none.
  double last(const std::string& name) const;

  /// A curve; its band is empty where nothing was merged. The legend shows `label`, or the name.
  Series series(const std::string& name, const std::string& label = "") const;
  /// Curves over steps; names without values are left out.
  LineChart chart(const std::string& title, const std::vector<std::string>& names,
                  const std::string& y_label = "") const;

  /// JSON, and back: what is read goes on exactly as what was written.
  ///   Errors  IoError: a name is not UTF-8; the text is not that of such a history
  std::string text() const;
  static ScalarHistory from_text(const std::string& text);

 private:
  struct Curve {
    std::string name;
    i64 last_step = 0;
    double last = kNoValue;
    Thinned<CurveEntry> entries;
  };
  const Curve* find(const std::string& name) const;
  std::vector<Curve> curves_;
};

/// What the mixtures of a model did, layer by layer, over the steps of a run.
///   LoadHistory loads;  loads.add(step, maps.all());  maps.clear()
///   Kept  at most kMost columns of each layer, neighbours merged as above
class LoadHistory {
 public:
  static constexpr i64 kMost = 400;

  /// The routings of one step; those of one layer count together.
  ///   Errors  Error: the step is negative, or before the last of a layer; a layer has another number of experts than
  ///           before. Nothing is added then
  void add(i64 step, const std::vector<RoutingMap>& maps);
  std::vector<std::string> layers() const;

  /// Share of each expert in the layer's load, [expert x step]: of the slots in use; of soft mixtures, whose slots are
  /// always full, of what tokens take from the expert (their combine weights).
  ///   Errors  Error: there is no such layer
  HeatMap load(const std::string& layer) const;
  /// One curve per layer: choices without a slot (or tokens without an expert) in percent; mean entropy of the router's
  /// probabilities in nats; experts without a token in a step. Layers without such a number are left out.
  LineChart dropped() const;
  LineChart entropy() const;
  LineChart dead_experts() const;
  /// All of these: loads of the layers that have more than one expert, then the curves that are not empty.
  std::vector<Figure> figures() const;

  std::string text() const;
  static LoadHistory from_text(const std::string& text);

 private:
  struct LayerLoads {
    std::string name;
    i64 experts = 0, last_step = 0;
    bool soft = false;
    Thinned<LoadEntry> entries;
  };
  const LayerLoads* find(const std::string& layer) const;
  void check(i64 step, const std::vector<RoutingMap>& maps) const;
  LineChart curves(const char* title, const char* y_label, Gathered LoadEntry::*what, double scale) const;
  std::vector<LayerLoads> layers_;
};

}  // namespace moegrad
