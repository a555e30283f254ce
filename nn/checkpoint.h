// A training run in one file: all that it takes to go on as if it had never stopped.
#pragma once
#include <map>
#include <string>

#include "core/random.h"
#include "nn/batch_order.h"
#include "nn/optim.h"

namespace moegrad {

/// The parts of a run. A run that is saved, loaded into new objects and continued has the same bits as one that was
/// never interrupted, on the same machine with the same number of threads.
struct TrainingState {
  Module& model;
  Optimizer& optimizer;
  CosineSchedule& schedule;
  Random& random;
  BatchOrder& batches;
  i64& step;
};

/// Text that a run carries along: its settings, a fingerprint of its data.
using Notes = std::map<std::string, std::string>;

/// Writes a safetensors file; it replaces an older one in one go, or not at all.
///   Errors  IoError: as save_safetensors
void save_checkpoint(const std::string& path, const TrainingState& state, const Notes& notes = {});

/// Restores all parts of a run, or none.
///   must_equal  notes that the file must have, for example the settings that the model was made with
///   Errors      IoError: as load_safetensors; the file is no checkpoint; it has other notes; its tensors are not those
///               of the model and the optimizer
/// Returns the notes of the file.
Notes load_checkpoint(const std::string& path, TrainingState state, const Notes& must_equal = {});

/// A fingerprint of bytes (FNV-1a, 64 bits), in hexadecimal: tells texts apart, but protects against nobody.
std::string fingerprint(const std::string& bytes);

}  // namespace moegrad
