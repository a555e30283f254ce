#include "examples/training/image_task.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "examples/training/image_folder.h"
#include "nn/image_files.h"
#include "nn/image_glyphs.h"
#include "ops/autodiff/cost.h"
#include "ops/ops.h"

namespace examples {

void add_image_options(CLI::App& app, ImageSettings& s) {
  const auto number = [&](const char* name, i64& value, const char* help, i64 least) {
    app.add_option(name, value, help)->capture_default_str()->check(CLI::Range(least, i64{1000000000}));
  };
  number("--patch", s.patch, "pixels of a token's side", 1);
  number("--layers", s.layers, "transformer blocks", 1);
  number("--dense-layers", s.dense_layers, "of them the first with a dense layer in place of --ffn", 0);
  number("--width", s.width, "channels of each token", 1);
  number("--heads", s.heads, "attention heads; they share the width evenly", 1);
  number("--batch", s.batch, "images in each step", 1);
  add_feed_forward_options(app, s.feed_forward);
}

ImageData load_images(const std::string& where, i64 size) {
  if (where == "generated") return glyph_images();
  const std::string kind = image_files_in(where);
  if (kind == "idx") return idx_images(where);
  if (kind == "cifar10") return cifar10_images(where);
  return folder_images(where, {.size = size});
}

namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

std::string fingerprint_of(const ImageData& data) {
  std::string bytes;
  for (const ImageSet* set : {&data.training, &data.validation}) {
    bytes.append(set->pixels.begin(), set->pixels.end());
    for (const i32 label : set->labels) bytes += std::to_string(label) + " ";
  }
  return fingerprint(bytes);
}

Notes notes_for(const ImageSettings& s, const ImageData& data, u64 seed) {
  Notes notes = notes_of(s.feed_forward);
  notes.insert({{"patch", std::to_string(s.patch)},
                {"layers", std::to_string(s.layers)},
                {"dense layers", std::to_string(s.dense_layers)},
                {"dense hidden", std::to_string(s.dense_hidden)},
                {"width", std::to_string(s.width)},
                {"heads", std::to_string(s.heads)},
                {"batch", std::to_string(s.batch)},
                {"seed", std::to_string(seed)},
                {"data", fingerprint_of(data)}});
  return notes;
}

ImageModel model_for(const ImageSettings& s, const ImageData& data, Init& init) {
  const ImageSet& images = data.training;
  const i64 tokens = (images.height / s.patch) * (images.width / s.patch);
  const auto make = [&](i64 block, Init& in) {
    FeedForwardSettings feed_forward = s.feed_forward;
    if (block < s.dense_layers) feed_forward.ffn = "dense", feed_forward.same_flops = false;
    if (block < s.dense_layers && s.dense_hidden > 0) feed_forward.hidden = s.dense_hidden;
    return make_feed_forward(feed_forward, {.width = s.width, .tokens = tokens}, in);
  };
  return ImageModel({.channels = images.channels,
                     .height = images.height,
                     .width = images.width,
                     .patch = s.patch,
                     .classes = static_cast<i64>(data.classes.size()),
                     .model_width = s.width,
                     .layers = s.layers,
                     .heads = s.heads,
                     .dropout = s.feed_forward.dropout},
                    make, init);
}

constexpr i64 kEvaluationBatch = 200;

}  // namespace

ImageTask::ImageTask(const ImageSettings& s, const ImageData& data, u64 seed)
    : data_(data),
      notes_(notes_for(s, data, seed)),
      seed_(seed),
      scale_(pixel_scale(data.training)),
      random_(seed),
      init_(random_),
      model_(model_for(s, data, init_)),
      batches_(data.training, scale_, s.batch, seed),
      batch_(batches_.at(0)),
      validation_(data.validation, scale_, kEvaluationBatch),
      probe_(first_images(16).images) {}

TrainingState ImageTask::state(Optimizer& optimizer, CosineSchedule& schedule, i64& step) {
  return {model_, optimizer, schedule, random_, batches_, step};
}

Tensor ImageTask::loss(Context& context) const {
  return cross_entropy(model_.forward(batch_.images, context), batch_.labels);
}

Values ImageTask::evaluate() const {
  const ImageScore all = score(data_.validation.count());
  return {{"validation", all.loss}, {"accuracy", 100 * all.accuracy}};
}

void ImageTask::probe(Context& context) const { model_.forward(probe_, context); }

ImageBatch ImageTask::first_images(i64 count) const {
  std::vector<i64> numbers(at(std::min(count, data_.validation.count())));
  std::iota(numbers.begin(), numbers.end(), 0);
  return image_batch(data_.validation, numbers, scale_);
}

ImageScore ImageTask::score(i64 most, RoutingWatch* watch) const {
  no_grad guard;
  Random random(seed_);  // for routers that draw in evaluation, too
  const i64 classes = static_cast<i64>(data_.classes.size());
  ImageScore result{.confusion = std::vector<i64>(at(classes * classes))};
  double images = 0, right = 0;
  for (i64 i = 0; i < validation_.batches() && images < static_cast<double>(most); ++i) {
    const ImageBatch batch = validation_.at(i);
    Context context{.random = &random, .watch = watch};
    const Tensor logits = model_.forward(batch.images, context);
    const auto answers = argmax(logits, -1).to_vector<i64>(), labels = batch.labels.to_vector<i64>();
    for (std::size_t k = 0; k < labels.size(); ++k) {
      ++result.confusion[at(labels[k] * classes + answers[k])];
      right += labels[k] == answers[k] ? 1 : 0;
      result.answers.push_back(answers[k]);
    }
    images += static_cast<double>(labels.size());
    result.loss += static_cast<double>(labels.size()) * cross_entropy(logits, batch.labels).item();
  }
  result.loss /= images;
  result.accuracy = right / images;
  return result;
}

double ImageTask::flops_per_token() const {
  no_grad guard;
  Random random(seed_);
  Context context{.random = &random};
  const CostLedger ledger;
  model_.forward(batch_.images, context);
  return ledger.total().flops / static_cast<double>(batch_.labels.size() * model_.tokens());
}

// FLOPs are a line over the hidden width: two points give it.
ImageSettings dense_twin(const ImageSettings& settings, const ImageData& data, double flops) {
  const auto twin = [&](i64 hidden) {
    ImageSettings s = settings;
    s.dense_hidden = s.feed_forward.hidden > 0 ? s.feed_forward.hidden : 4 * s.width;
    s.feed_forward.ffn = "dense";
    s.feed_forward.same_flops = false;
    s.feed_forward.hidden = hidden;
    return s;
  };
  const i64 narrow = 8, wide = 72;
  const double least = ImageTask(twin(narrow), data, 1).flops_per_token();
  const double slope = (ImageTask(twin(wide), data, 1).flops_per_token() - least) / static_cast<double>(wide - narrow);
  return twin(std::max<i64>(1, narrow + std::llround((flops - least) / std::max(slope, 1.0))));
}

double linear_accuracy(const ImageData& data, i64 steps, u64 seed) {
  const PixelScale scale = pixel_scale(data.training);
  const i64 pixels = data.training.image_size();
  Random random(seed);
  Init init(random);
  Linear model(pixels, static_cast<i64>(data.classes.size()), init);
  AdamW optimizer(decay_matrices(model, 0));
  RandomImages batches(data.training, scale, 128, seed);
  const CosineSchedule schedule{.peak = 3e-3, .floor = 0, .warmup = 0, .total = steps};
  for (i64 step = 0; step < steps; ++step) {
    optimizer.set_lr(schedule.lr(step));
    const ImageBatch batch = batches.next();
    cross_entropy(model.forward(reshape(batch.images, {-1, pixels})), batch.labels).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
  no_grad guard;
  double right = 0;
  const AllImages all(data.validation, scale, kEvaluationBatch);
  for (i64 i = 0; i < all.batches(); ++i) {
    const ImageBatch batch = all.at(i);
    const Tensor answers = argmax(model.forward(reshape(batch.images, {-1, pixels})), -1);
    right += sum(cast(eq(answers, batch.labels), DType::f64)).item();
  }
  return 100 * right / static_cast<double>(data.validation.count());
}

}  // namespace examples
