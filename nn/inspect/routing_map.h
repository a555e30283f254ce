// What mixtures decided in a forward pass, as plain numbers on the host.
#pragma once
#include <string>
#include <vector>

#include "nn/context.h"
#include "nn/moe/routing.h"

namespace moegrad {

/// The name that figures show: that of the layer, or "mixture" for one that runs by itself.
std::string shown_layer(const std::string& layer);

/// One routing. Letters: G groups, N tokens of a group, E experts.
struct RoutingMap {
  std::string layer;  ///< "blocks.3.feed_forward"; "" for a layer that runs by itself
  i64 groups = 0, tokens = 0, experts = 0;
  std::vector<double> weight;  ///< [G N E] what the token gets of the expert: its gate, summed over slots of a soft one
  std::vector<i64> slots;      ///< [G N E] slots of the expert that hold the token; of soft routers all
  std::vector<i64> load;       ///< [E] slots in use
  i64 dropped = 0;             ///< choices without a slot, or tokens that nobody chose
  i64 choices = 0;             ///< what `dropped` is a part of: choices made, or tokens. Of soft routers 0
  double entropy = 0;  ///< mean over tokens of -sum_e p log p in nats; kNoValue where there are no probabilities
  bool soft = false;   ///< every token is in every slot: there is no choice to look at

  double weight_of(i64 group, i64 token, i64 expert) const;
  /// The expert with the largest weight among those that hold the token; -1: none does.
  i64 strongest(i64 group, i64 token) const;
};

/// Keeps a map of every routing that it is told.
///   RoutingMaps maps;  Context context{.watch = &maps};  model.forward(x, context);  maps.of("blocks.0.feed_forward")
///   Synchronises: it reads values, so not in a captured graph
class RoutingMaps : public RoutingWatch {
 public:
  void routed(const Context& context, const Routing& routing) override;
  const std::vector<RoutingMap>& all() const { return maps_; }
  /// Throws Error: that layer made no routing; the text lists those that did.
  const RoutingMap& of(const std::string& layer) const;
  void clear() { maps_.clear(); }

 private:
  std::vector<RoutingMap> maps_;
};

}  // namespace moegrad
