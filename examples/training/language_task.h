// Training a small language model on the characters of a text.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "examples/training/feed_forwards.h"
#include "examples/training/training_run.h"
#include "nn/language_model.h"
#include "nn/text_data.h"

namespace examples {

struct LanguageSettings {
  FeedForwardSettings feed_forward;
  i64 layers = 4, width = 128, heads = 4, block = 64, batch = 16;
};
/// --layers, --width, --heads, --block, --batch, and the options of feed-forward layers.
void add_language_options(CLI::App& app, LanguageSettings& settings);

/// The first nine tenths of the text are trained on; the rest validates.
///   Errors  Error: the text is too short for a window, or the options do not fit each other
class LanguageTask : public TrainingTask {
 public:
  LanguageTask(const LanguageSettings& settings, const std::string& text, u64 seed);

  LanguageModel& model() override { return model_; }
  TrainingState state(Optimizer& optimizer, CosineSchedule& schedule, i64& step) override;
  void next_batch() override { batches_.next(batch_); }
  Tensor loss(Context& context) const override;
  /// "validation": nats per character in 16 batches.
  Values evaluate() const override { return {{"validation", nats(16)}}; }
  void probe(Context& context) const override;
  i64 items_per_step() const override { return batch_.inputs.size(); }
  std::string items() const override { return "tokens"; }

  /// What a checkpoint must have been made with to be continued: sizes, layers, the seed, a fingerprint of the text.
  const Notes& notes() const { return notes_; }
  const TextData& text() const { return text_; }
  const WholeText& validation() const { return validation_; }
  /// Mean loss over the whole validation text, or over `most` batches spread evenly over it. The watch is
  /// told of whole windows.
  double nats(i64 most, RoutingWatch* watch = nullptr) const;

 private:
  Notes notes_;
  TextData text_;
  u64 seed_;
  Random random_;
  Init init_;
  LanguageModel model_;
  RandomBatches batches_;
  Batch batch_;  // the tensors of every step
  WholeText validation_;
  Tensor probe_;  // i64 [4, S] at most
};

}  // namespace examples
