// A model layer by layer: parameters, work and memory, measured on one forward pass.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "nn/context.h"
#include "nn/inspect/figures.h"
#include "nn/module.h"

namespace moegrad {

/// What one layer has and does.
struct LayerCost {
  std::string layer;            ///< its path, "blocks.3.feed_forward"; "" for what belongs to the model itself
  i64 parameters = 0;           ///< elements of those that are its own
  i64 active = 0;               ///< how many of them one token uses
  i64 calls = 0;                ///< ops that ran
  double flops = 0;             ///< of the forward pass, as CostLedger counts them
  double activation_bytes = 0;  ///< values that the graph keeps for backward
};

struct ModelSummary {
  std::vector<LayerCost> layers;  ///< in the order in which they ran; then those that did not

  LayerCost total() const;
  /// Throws Error: there is no such layer.
  const LayerCost& of(const std::string& layer) const;
  /// Aligned columns, and the sum.
  std::string text() const;
  Table table() const;
};

struct SummaryOptions {
  /// Names in a path, "blocks.3.feed_forward" has three: layers further within count to the one that holds them. 0: one
  /// line for all.
  int depth = 3;
};

/// The work of `run`, which runs the model once with that context (in evaluation, unless it says otherwise) and returns
/// its output.
///   Layers   an op belongs to the module whose parameter it reads, and otherwise to the layer in which it runs, as far
///            as layers enter the context (`Inside`)
///   Kept     each value once, where it is kept first; parameters and the index tables of routings are not counted, and
///            what is recomputed (nn/recompute.h) is not kept
///   Shared   parameters count once, where they are named first
///   Errors   those of run
ModelSummary model_summary(Module& model, const std::function<Tensor(Context&)>& run,
                           const SummaryOptions& options = {});

}  // namespace moegrad
