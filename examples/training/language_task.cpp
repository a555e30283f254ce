#include "examples/training/language_task.h"

#include <algorithm>

#include "core/autograd.h"
#include "examples/training/terminal.h"
#include "ops/cross_entropy.h"
#include "ops/slice.h"

namespace examples {

void add_language_options(CLI::App& app, LanguageSettings& s) {
  add_number(app, "--layers", s.layers, "transformer blocks", 0);
  add_number(app, "--width", s.width, "channels of each position", 1);
  add_number(app, "--heads", s.heads, "attention heads; they share the width evenly", 1);
  add_number(app, "--block", s.block, "characters that the model sees at once", 1);
  add_number(app, "--batch", s.batch, "windows of text in each step", 1);
  add_feed_forward_options(app, s.feed_forward);
}

namespace {

Notes notes_for(const LanguageSettings& s, const std::string& text, u64 seed) {
  Notes notes = notes_of(s.feed_forward);
  notes.insert({{"layers", std::to_string(s.layers)},
                {"width", std::to_string(s.width)},
                {"heads", std::to_string(s.heads)},
                {"block", std::to_string(s.block)},
                {"batch", std::to_string(s.batch)},
                {"seed", std::to_string(seed)},
                {"data", fingerprint(text)}});
  return notes;
}

LanguageModel model_for(const LanguageSettings& s, i64 vocabulary, Init& init) {
  const auto make = [&](i64, double gain, Init& in) {
    return make_feed_forward(s.feed_forward, {.width = s.width, .tokens = s.block, .output_gain = gain}, in);
  };
  return LanguageModel({.vocabulary = vocabulary,
                        .context = s.block,
                        .width = s.width,
                        .layers = s.layers,
                        .heads = s.heads,
                        .dropout = s.feed_forward.dropout},
                       make, init);
}

}  // namespace

LanguageTask::LanguageTask(const LanguageSettings& s, const std::string& text, u64 seed)
    : notes_(notes_for(s, text, seed)),
      text_(text),
      seed_(seed),
      random_(seed),
      init_(random_),
      model_(model_for(s, text_.vocabulary.size(), init_)),
      batches_(text_.training, s.batch, s.block, seed),
      batch_(batches_.at(0)),
      validation_(text_.validation, 64, s.block) {
  const Tensor inputs = validation_.at(0).inputs;
  probe_ = slice(inputs, 0, {0, std::min<i64>(4, inputs.dim(0))});
}

TrainingState LanguageTask::state(Optimizer& optimizer, CosineSchedule& schedule, i64& step) {
  return {model_, optimizer, schedule, random_, batches_, step};
}

Tensor LanguageTask::loss(Context& context) const {
  return cross_entropy(model_.forward(batch_.inputs, context), batch_.targets);
}

void LanguageTask::probe(Context& context) const { model_.forward(probe_, context); }

double LanguageTask::nats(i64 most, RoutingWatch* watch) const {
  no_grad guard;
  Random random(seed_);  // for routers that draw in evaluation, too
  double sum = 0, characters = 0;
  const i64 count = std::min(most, validation_.batches());
  for (i64 i = 0; i < count; ++i) {
    const Batch batch = validation_.at(i * validation_.batches() / count);
    const bool whole = batch.inputs.dim(1) == model_.options.context;  // the last window may be shorter
    Context context{.random = &random, .watch = whole ? watch : nullptr};
    const double n = static_cast<double>(batch.targets.size());
    sum += n * cross_entropy(model_.forward(batch.inputs, context), batch.targets).item();
    characters += n;
  }
  return sum / std::max(characters, 1.0);
}

}  // namespace examples
