// Training a small vision transformer to tell images apart.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "examples/training/feed_forwards.h"
#include "examples/training/image_model.h"
#include "examples/training/training_run.h"
#include "nn/image_data.h"

namespace examples {

struct ImageSettings {
  FeedForwardSettings feed_forward{.ffn = "soft_wrapper", .hidden = 128};
  i64 patch = 7, layers = 4, dense_layers = 2, width = 64, heads = 4, batch = 64;
  i64 dense_hidden = 0;  ///< of the dense layers; 0: as feed_forward says
};
/// --patch, --layers, --dense-layers, --width, --heads, --batch, and the options of feed-forward layers.
void add_image_options(CLI::App& app, ImageSettings& settings);

/// Where images come from: "generated" (nn/image_glyphs.h), a folder with the files of MNIST, Fashion-MNIST or CIFAR-10
/// (nn/image_files.h), or a folder of pictures by class, cut to `size` (image_folder.h).
///   Errors   IoError: the folder or a file in it is not what it should be
ImageData load_images(const std::string& where, i64 size);

/// What a model makes of the validation images.
struct ImageScore {
  double loss = 0, accuracy = 0;
  std::vector<i64> answers;    ///< for each image
  std::vector<i64> confusion;  ///< [true class x answer]
};

/// `data` must outlive this.
class ImageTask : public TrainingTask {
 public:
  ImageTask(const ImageSettings& settings, const ImageData& data, u64 seed);

  ImageModel& model() override { return model_; }
  TrainingState state(Optimizer& optimizer, CosineSchedule& schedule, i64& step) override;
  void next_batch() override { batches_.next(batch_); }
  Tensor loss(Context& context) const override;
  /// "validation": loss, "accuracy": in percent, both of all validation images.
  Values evaluate() const override;
  void probe(Context& context) const override;
  i64 items_per_step() const override { return batch_.labels.size(); }
  std::string items() const override { return "images"; }

  /// What a checkpoint must have been made with to be continued.
  const Notes& notes() const { return notes_; }
  const ImageData& data() const { return data_; }
  /// Over all validation images, or the first batches that hold `most`.
  ImageScore score(i64 most, RoutingWatch* watch = nullptr) const;
  /// The first validation images as the model sees them.
  ImageBatch first_images(i64 count) const;
  /// FLOPs of a forward pass per token, counted as they run (ops/autodiff/cost.h).
  double flops_per_token() const;

 private:
  const ImageData& data_;
  Notes notes_;
  u64 seed_;
  PixelScale scale_;
  Random random_;
  Init init_;
  ImageModel model_;
  RandomImages batches_;
  ImageBatch batch_;  // the tensors of every step
  AllImages validation_;
  Tensor probe_;  // [16, C, H, W] at most
};

/// The same model with dense layers throughout, those of the blocks with mixtures so wide that a token costs as many
/// FLOPs as in the model of `settings`, which `flops` says.
ImageSettings dense_twin(const ImageSettings& settings, const ImageData& data, double flops);

/// Share of right answers, in percent, of softmax regression on pixels: what needs no vision.
double linear_accuracy(const ImageData& data, i64 steps, u64 seed);

}  // namespace examples
