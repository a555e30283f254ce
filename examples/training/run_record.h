// What a run collects while it trains, for its report.
#pragma once
#include "nn/checkpoint.h"
#include "nn/inspect/history.h"
#include "nn/inspect/router_gradient.h"

namespace examples {

using namespace moegrad;

/// Curves and loads of all steps so far. It depends on the steps alone, not on the clock, and travels in the notes of a
/// checkpoint: a run that was stopped and resumed has the record of one that never was.
struct RunRecord {
  ScalarHistory scalars;            ///< "loss", "learning rate", "gradient norm", auxiliary losses, evaluations
  LoadHistory loads;                ///< of a fixed piece of validation data
  RouterGradientHistory gradients;  ///< of routers' parameters, on the batch of the step

  /// Adds the record to the notes of a checkpoint, or takes it out of them; empty where they have none.
  ///   Errors  IoError: what they have is no record
  void write(Notes& notes) const;
  static RunRecord from(const Notes& notes);
};

}  // namespace examples
