// The loop of all training programs: steps, looks, evaluations, checkpoints, and what a report will show.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "core/graph.h"
#include "examples/training/progress.h"
#include "examples/training/run_record.h"
#include "examples/training/run_settings.h"
#include "nn/checkpoint.h"
#include "nn/context.h"

namespace examples {

/// What a program trains, and on what.
struct TrainingTask {
  virtual ~TrainingTask() = default;
  virtual Module& model() = 0;
  /// The task's model, random stream and batches, with what the run adds.
  virtual TrainingState state(Optimizer& optimizer, CosineSchedule& schedule, i64& step) = 0;
  /// The next batch takes the place of the last, in the same tensors: a captured graph reads them.
  virtual void next_batch() = 0;
  /// Of that batch, without auxiliary losses. It reads no value.
  virtual Tensor loss(Context& context) const = 0;
  /// On a part of the validation data: "validation" and others.
  virtual Values evaluate() const = 0;
  /// One forward pass over a fixed piece of validation data; what its mixtures do is recorded.
  virtual void probe(Context& context) const = 0;
  /// What a step works on, and its name in the plural.
  virtual i64 items_per_step() const = 0;
  virtual std::string items() const = 0;
};

/// Trains with AdamW (decay of matrices, beta2 0.99), a warm-up, then a cosine, gradients clipped by their norm.
///   Goes on   --resume: from the checkpoint, bit for bit as if the run had not stopped; its record with it
///   Capture   --graph: the first step is done by itself, the second is recorded, and replayed from then on
///   Looks     at the loss in every step (on a GPU every --log-every, as it waits); at routers every --watch-every; at
///             validation data and the parts of the routers' gradients every --eval-every. None of them changes a bit
///             of the training
///   Errors    Error: the loss is not finite; IoError: the checkpoint cannot be read or written, or was made with other
///             `notes`
class TrainingRun {
 public:
  TrainingRun(TrainingTask& task, const RunSettings& settings, const Notes& notes, Progress& progress);
  /// True when all steps are done, false when a signal stopped it. The checkpoint is written in both cases.
  bool run();

  const RunRecord& record() const { return record_; }
  i64 step() const { return step_; }
  /// Steps of this process, and what they took, without looks and saves.
  i64 steps_done() const { return step_ - first_step_; }
  double seconds() const { return training_time_.seconds(); }
  i64 per_second() const;

 private:
  void go_on();
  void step_once();
  void learn();
  void look(bool record);
  void watch();
  void split_gradients();
  void save();
  void show();
  bool every(i64 n) const { return n > 0 && step_ % n == 0; }

  TrainingTask& task_;
  RunSettings settings_;
  Notes notes_;
  Progress& progress_;
  AdamW optimizer_;
  CosineSchedule schedule_;
  i64 step_ = 0, first_step_ = 0;
  std::vector<NamedTensor> latest_;        // scalars of the latest step: its loss, ..
  std::map<std::string, double> weights_;  // of the auxiliary losses that the model adds
  Tensor smooth_ = zeros({}, DType::f64);  // moving average of the loss, from 0
  double smooth_loss_ = 0;
  std::optional<Graph> graph_;
  RunRecord record_;
  bool routes_ = true;  // until a look shows that nothing does
  bool noisy_ = true;   // the same of router noise
  Stopwatch training_time_;
};

}  // namespace examples
