// How much work every expert had, over as many batches as one likes.
#pragma once
#include <string>
#include <vector>

#include "nn/inspect/figures.h"
#include "nn/inspect/routing_map.h"

namespace moegrad {

/// Of one layer. Load is the number of slots in use; of soft mixtures, whose slots are always full, what tokens take
/// from an expert: the sum of their combine weights.
struct LayerLoad {
  std::string layer;
  i64 experts = 0, tokens = 0;  ///< tokens that came by, masked ones too
  i64 dropped = 0, choices = 0;
  bool soft = false;
  std::vector<double> load;  ///< [E]
  /// [positions x E] of tokens that stand at one place of their sequences; empty where tokens are not whole sequences.
  std::vector<double> load_at;
  std::vector<i64> tokens_at;  ///< [positions]

  double total() const;
  double share(i64 expert) const;  ///< of the total; kNoValue without load
  /// The largest load over the mean: 1 where all are equal, E where one expert has everything. Less 1 it is MaxVio of
  /// Auxiliary-loss-free load balancing (2024), arXiv:2408.15664; kNoValue without load.
  double max_over_mean() const;
  /// Standard deviation over mean, with the variance divided by E: the square root of cv_squared (nn/moe/losses.h).
  double variation() const;
  i64 dead_experts() const;  ///< those without any load
  double dropped_share()
      const;  ///< of choices, or of tokens where experts choose; kNoValue where nothing can be dropped
};

/// Adds up what mixtures do.
///   LoadStatistics loads(S);  Context context{.watch = &loads};  model.forward(x, context);  loads.of("blocks.0.mlp")
///   Synchronises: it reads values, so not in a captured graph
class LoadStatistics : public RoutingWatch {
 public:
  /// Sequences have that many positions; 0: a routing's groups are the sequences. Routers without capacities see a
  /// whole batch as one group, so they need the number.
  explicit LoadStatistics(i64 positions = 0);
  void routed(const Context& context, const Routing& routing) override;
  /// Throws Error: a layer has another number of experts, or of positions, than before.
  void add(const RoutingMap& map);

  /// In the order in which they came.
  const std::vector<LayerLoad>& layers() const { return layers_; }
  /// Throws Error: that layer made no routing.
  const LayerLoad& of(const std::string& layer) const;

 private:
  LayerLoad& layer_of(const RoutingMap& map);
  i64 positions_;
  std::vector<LayerLoad> layers_;
};

enum class LoadUnit {
  absolute,  ///< slots, or weights of soft mixtures
  percent,   ///< of the layer's load
};

/// One bar per expert, beside an even share: display_experts_load of moefy, for one layer.
BarChart expert_load_chart(const LayerLoad& load, LoadUnit unit = LoadUnit::percent);
/// The same for all layers that have more than one expert.
std::vector<BarChart> expert_load_charts(const LoadStatistics& loads, LoadUnit unit = LoadUnit::percent);

/// [expert x position]: slots per token that stands there; of soft mixtures, weight per token; of a mixture of depths
/// the share of tokens that are processed.
///   Errors  Error: the layer's tokens are not whole sequences
HeatMap position_load(const LayerLoad& load);

/// One row per layer: experts, load, max/mean, variation, dead experts, dropped.
Table imbalance_table(const LoadStatistics& loads);

}  // namespace moegrad
