// The sections that the reports of all training programs have.
#pragma once
#include "examples/training/run_record.h"
#include "examples/training/run_settings.h"
#include "examples/training/training_run.h"
#include "nn/inspect/load_statistics.h"
#include "nn/inspect/report.h"

namespace examples {

/// What curves of a run are compared with, and called.
struct CurveNames {
  std::string loss_unit;    ///< "nats per character"
  double level = kNoValue;  ///< a baseline of the loss
  std::string level_name = {};
  std::vector<std::string> others = {};  ///< evaluations besides "validation", a chart each: "accuracy"
};

/// Loss of training and validation, other evaluations, auxiliary losses, gradient norm, learning rate.
Report::Section learning_section(const RunRecord& record, const RunSettings& settings, const CurveNames& names);

/// What routers did: load over time, dropped tokens, entropy, dead experts; over all validation data the load of every
/// expert, and by position. Without a mixture it has no figures.
Report::Section routing_section(const RunRecord& record, const LoadStatistics& loads);

/// Which loss pulls each router where, and how hard: norms and angles of the parts of its gradient.
Report::Section gradient_section(const RunRecord& record);

/// Every layer with its parameters, FLOPs and kept bytes, measured on one pass over a training batch.
Report::Section model_section(TrainingTask& task);

/// All options that a run was made with, those that were set first.
Report::Section settings_section(const CLI::App& app);

}  // namespace examples
