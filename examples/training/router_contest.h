// The task that routers are compared by, and the training of one of them: a small transformer encoder that says which
// glyph an image shows. It is a fair task: the label stands in no token, so no router can look at what is asked for.
#pragma once
#include <functional>
#include <optional>

#include "examples/training/comparison.h"
#include "examples/training/feed_forwards.h"
#include "nn/block.h"
#include "nn/image_data.h"
#include "nn/vision/patch_embed.h"

namespace examples {

struct ContestSettings {
  i64 image = 20, patch = 4, width = 48, layers = 2, heads = 4, batch = 32;
  i64 training_images = 20'000, validation_images = 640;
  FeedForwardSettings feed_forward;  ///< without its name; `hidden` is that of the dense layer, 0: four times the width
  i64 looks = 10;                    ///< at the validation loss, evenly spread over the steps, and one before them
  i64 warmup = 30;
  double lr = 3e-3, weight_decay = 0.05, clip = 1, balance = 0.01, router_z = 0.001;
  double average = 0.98;    ///< decay of the moving average of the weights that is evaluated
  double tolerance = 0.03;  ///< FLOPs per token may differ from those of the dense model by this share
};

/// logits = head(mean over positions of norm(blocks(patches + positions))), blocks without a causal mask.
///   Shapes   images [B, 1, H, W] -> logits [B, classes]
struct GlyphClassifier : Module {
  /// The seed gives the weights; those of feed-forward layers come from a stream of their own, so that all others are
  /// the same whatever the feed-forward layers are.
  GlyphClassifier(const ContestSettings& settings, i64 classes, const FeedForwardSettings& layers, u64 seed);
  Tensor forward(const Tensor& images, Context& context) const;
  void members(Members& m) override;
  i64 tokens() const { return positions.dim(0); }  ///< of an image

  PatchEmbed patches;
  Tensor positions;  // [S, D]
  std::vector<std::unique_ptr<Block>> blocks;
  std::unique_ptr<LayerNorm> norm;
  std::unique_ptr<Linear> head;

 private:
  GlyphClassifier(const ContestSettings& settings, i64 classes, const FeedForwardSettings& layers, Random random,
                  Random of_layers);
  GlyphClassifier(const ContestSettings& settings, i64 classes, const FeedForwardSettings& layers, Init init,
                  Init of_layers);
};

/// How long a training goes on: until it has done the steps and spent the seconds.
struct Duration {
  i64 steps = 0;
  double seconds = 0;
};
/// Told after every step: steps done, seconds spent, the latest validation loss.
using TrainingNews = std::function<void(i64 steps, double seconds, double validation)>;

class Contest {
 public:
  explicit Contest(const ContestSettings& settings);

  /// A router made ready: how wide its feed-forward layers must be for a training step to cost as many FLOPs as with
  /// dense ones. FLOPs are counted in a step that is done (ops/autodiff/cost.h) at two widths, which gives the line they
  /// lie on; the step at the width that is found is counted again.
  ///   Errors  Error: no such router, or its FLOPs stay further from the dense ones than the tolerance
  struct Entry {
    std::string name;
    FeedForwardSettings layers;  ///< whose `hidden` is to be divided by the slots that a token takes
    double flops_per_token = 0;
    i64 hidden = 0, parameters = 0, active = 0;
  };
  Entry enter(const std::string& router) const;
  double dense_flops_per_token() const { return dense_flops_; }

  /// Seconds of one training step and of one look, measured just now.
  struct Pace {
    double step = 0, look = 0;
  };
  Pace pace(const Entry& entry) const;

  /// What one training showed.
  struct Outcome {
    Curve curve;
    Balance balance;
    std::vector<std::vector<double>> load;  ///< share of each expert, by layer
  };
  /// Trains from the beginning; nothing if `stop_requested` came in between. The seconds of its curve are those of the
  /// training steps alone. The learning rate is constant after the warm-up and the weights that are evaluated are a
  /// moving average, so that a curve may be read anywhere: no place on it is favoured by a schedule.
  ///   Errors  Error: the loss is not finite
  std::optional<Outcome> train(const Entry& entry, u64 seed, const Duration& duration, const TrainingNews& news) const;

  const ContestSettings& settings() const { return settings_; }
  i64 tokens_per_step() const;

 private:
  friend class RouterTraining;
  double flops_per_token(const FeedForwardSettings& layers) const;
  FeedForwardSettings layers_of(const std::string& router) const;

  ContestSettings settings_;
  ImageData images_;
  PixelScale scale_;
  double dense_flops_ = 0;
};

}  // namespace examples
