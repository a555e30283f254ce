// The sections of a report about images.
#pragma once
#include "examples/training/image_task.h"
#include "nn/inspect/report.h"

namespace examples {

/// One of the models that a run compares.
struct TrainedModel {
  std::string name;
  ImageTask* task = nullptr;
  const TrainingRun* run = nullptr;
  ImageScore score = {};  ///< over all validation images
  double flops = 0;       ///< per token
};

/// Accuracy over steps and over training seconds at the end, parameters and FLOPs of each.
///   linear   accuracy of softmax regression, in percent
Report::Section comparison_section(const std::vector<TrainedModel>& models, double linear);

/// Which classes are taken for which, and the validation images that the model got wrong.
Report::Section confusion_section(const TrainedModel& model);

/// Some validation images with the expert of every patch, layer by layer; for a mixture of depths, which patches of the
/// first pass. Without a mixture it has no figures.
Report::Section expert_section(const TrainedModel& model);

}  // namespace examples
