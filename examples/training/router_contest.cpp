#include "examples/training/router_contest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "examples/training/progress.h"
#include "nn/inspect/load_statistics.h"
#include "nn/moegrad.h"

namespace examples {

// ---- the model

GlyphClassifier::GlyphClassifier(const ContestSettings& s, i64 classes, const FeedForwardSettings& layers, u64 seed)
    : GlyphClassifier(s, classes, layers, Random(seed), Random(seed + 0xFEED'0000)) {}

GlyphClassifier::GlyphClassifier(const ContestSettings& s, i64 classes, const FeedForwardSettings& layers,
                                 Random random, Random of_layers)
    : GlyphClassifier(s, classes, layers, Init(random), Init(of_layers)) {}

GlyphClassifier::GlyphClassifier(const ContestSettings& s, i64 classes, const FeedForwardSettings& layers, Init init,
                                 Init of_layers)
    : patches(s.width, {.image = s.image, .patch = s.patch, .channels = 1}, init) {
  positions = init.normal({patches.patches(), s.width}, 0.02);
  const double gain = 1 / std::sqrt(2.0 * static_cast<double>(std::max<i64>(s.layers, 1)));
  const FeedForwardPlace place{.width = s.width, .tokens = patches.patches(), .output_gain = gain};
  for (i64 i = 0; i < s.layers; ++i)
    blocks.push_back(
        std::make_unique<Block>(s.width, SelfAttention::Options{.heads = s.heads, .causal = false, .output_gain = gain},
                                make_feed_forward(layers, place, of_layers), init));
  norm = std::make_unique<LayerNorm>(s.width, init);
  head = std::make_unique<Linear>(s.width, classes, init);
}

Tensor GlyphClassifier::forward(const Tensor& images, Context& context) const {
  Tensor x = patches.forward(images, context) + positions;  // [B, S, D]
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Inside here(context, "blocks", static_cast<i64>(i));
    x = blocks[i]->forward(x, context);
  }
  return head->forward(mean(norm->forward(x), 1));  // [B, classes]
}

void GlyphClassifier::members(Members& m) {
  m.child("patches", patches);
  m.parameter("positions", positions);
  m.children("blocks", blocks);
  m.child("norm", *norm);
  m.child("head", *head);
}

// ---- one training

class RouterTraining {
 public:
  RouterTraining(const Contest& contest, const FeedForwardSettings& layers, u64 seed);
  void step();
  /// Of forward and backward of one more batch, which changes nothing.
  double count_flops();
  void look(Curve& curve);
  Contest::Outcome finish(Curve curve);

  GlyphClassifier model;
  Stopwatch training_time;
  i64 steps = 0;

 private:
  struct Evaluation {
    double loss = 0, accuracy = 0;
  };
  Evaluation evaluate();
  double flops_so_far();
  Tensor loss_of(const ImageBatch& batch, Random& random) const;

  const ContestSettings& settings_;
  const i64 tokens_per_step_;
  AdamW optimizer_;
  ParameterAverage average_;
  ConstantSchedule schedule_;
  RandomImages batches_;
  AllImages validation_;
  Random random_, other_random_;
  double flops_ = 0, counted_ = 0;  // so far, and of a step when it was last counted
  i64 counted_at_ = 0;
};

RouterTraining::RouterTraining(const Contest& contest, const FeedForwardSettings& layers, u64 seed)
    : model(contest.settings_, static_cast<i64>(contest.images_.classes.size()), layers, seed),
      settings_(contest.settings_),
      tokens_per_step_(contest.tokens_per_step()),
      optimizer_(decay_matrices(model, settings_.weight_decay), {.beta2 = 0.99}),
      average_(model, settings_.average),
      schedule_{.rate = settings_.lr, .warmup = settings_.warmup},
      batches_(contest.images_.training, contest.scale_, settings_.batch, seed),
      validation_(contest.images_.validation, contest.scale_, settings_.batch),
      random_(seed),
      other_random_(seed + 1) {
  training_time.pause();
}

Tensor RouterTraining::loss_of(const ImageBatch& batch, Random& random) const {
  random.advance();
  Context context{.training = true, .random = &random};
  Tensor total = cross_entropy(model.forward(batch.images, context), batch.labels);
  for (const auto& [name, value] : context.losses)
    total = total + value * (name == "router_z" ? settings_.router_z : settings_.balance);
  return total;
}

void RouterTraining::step() {
  training_time.go_on();
  optimizer_.set_lr(schedule_.lr(steps));
  loss_of(batches_.next(), random_).backward();
  optimizer_.step(clip_grad_norm(optimizer_.parameters(), settings_.clip).scale);
  optimizer_.zero_grad();
  average_.update();
  training_time.pause();
  ++steps;
}

double RouterTraining::count_flops() {
  CostLedger ledger;
  loss_of(batches_.at(batches_.position()), other_random_).backward();
  optimizer_.zero_grad();
  return ledger.total().flops;
}

// Between two looks a step costs what it costs at them, on the average: routes change what a step costs.
double RouterTraining::flops_so_far() {
  const double now = count_flops();
  flops_ += static_cast<double>(steps - counted_at_) * (counted_ + now) / 2;
  counted_ = now;
  counted_at_ = steps;
  return flops_;
}

RouterTraining::Evaluation RouterTraining::evaluate() {
  no_grad guard;
  Evaluation sums;
  double count = 0;
  average_.swap();
  for (i64 i = 0; i < validation_.batches(); ++i) {
    const ImageBatch batch = validation_.at(i);
    Random draws(1);
    Context context{.random = &draws};  // for layers that draw in evaluation, too
    const Tensor logits = model.forward(batch.images, context);
    const double n = static_cast<double>(batch.labels.size());
    sums.loss += n * cross_entropy(logits, batch.labels).item();
    sums.accuracy += sum(cast(eq(argmax(logits, -1), batch.labels), DType::f64)).item();
    count += n;
  }
  average_.swap();
  return {sums.loss / count, sums.accuracy / count};
}

void RouterTraining::look(Curve& curve) {
  training_time.go_on();
  static_cast<void>(model.positions.to_vector<double>());  // waits for a GPU: its time counts
  training_time.pause();
  const Evaluation now = evaluate();
  if (!std::isfinite(now.loss))
    throw Error(fmt::format("the loss is {} at step {}: try a smaller --lr", now.loss, steps));
  curve.flops.push_back(flops_so_far());
  curve.seconds.push_back(steps > 0 ? training_time.seconds() : 0);
  curve.tokens.push_back(static_cast<double>(steps * tokens_per_step_));
  curve.loss.push_back(now.loss);
  curve.accuracy.push_back(now.accuracy);
}

namespace {

// A layer with one expert has no balance.
Balance balance_of(const LoadStatistics& loads) {
  const auto mean_over_layers = [&](const auto& what) {
    double total = 0, count = 0;
    for (const LayerLoad& layer : loads.layers())
      if (const double v = what(layer); !std::isnan(v)) total += v, ++count;
    return count > 0 ? total / count : kNoValue;
  };
  const auto if_many = [](const LayerLoad& l, double v) { return l.experts > 1 ? v : kNoValue; };
  return {
      .variation = mean_over_layers([&](const LayerLoad& l) { return if_many(l, l.variation()); }),
      .dead = mean_over_layers([&](const LayerLoad& l) { return if_many(l, static_cast<double>(l.dead_experts())); }),
      .dropped = mean_over_layers([](const LayerLoad& l) { return l.dropped_share(); })};
}

}  // namespace

Contest::Outcome RouterTraining::finish(Curve curve) {
  LoadStatistics loads;
  no_grad guard;
  average_.swap();
  for (i64 i = 0; i < validation_.batches(); ++i) {
    Random draws(1);
    Context context{.random = &draws, .watch = &loads};
    model.forward(validation_.at(i).images, context);
  }
  average_.swap();
  Contest::Outcome outcome{.curve = std::move(curve), .balance = balance_of(loads)};
  for (const LayerLoad& layer : loads.layers()) {
    auto& shares = outcome.load.emplace_back();
    for (i64 e = 0; e < layer.experts; ++e) shares.push_back(layer.share(e));
  }
  return outcome;
}

// ---- the contest

Contest::Contest(const ContestSettings& settings)
    : settings_(settings),
      images_(glyph_images(
          {.training = settings.training_images, .validation = settings.validation_images, .size = settings.image})),
      scale_(pixel_scale(images_.training)) {
  if (settings_.feed_forward.hidden == 0) settings_.feed_forward.hidden = 4 * settings_.width;
  dense_flops_ = flops_per_token(layers_of("dense"));
}

i64 Contest::tokens_per_step() const {
  const i64 side = settings_.image / settings_.patch;
  return settings_.batch * side * side;
}

FeedForwardSettings Contest::layers_of(const std::string& router) const {
  FeedForwardSettings layers = settings_.feed_forward;
  layers.ffn = feed_forward_kind(router).name;
  layers.same_flops = true;
  return layers;
}

double Contest::flops_per_token(const FeedForwardSettings& layers) const {
  return RouterTraining(*this, layers, 1).count_flops() / static_cast<double>(tokens_per_step());
}

Contest::Entry Contest::enter(const std::string& router) const {
  Entry entry{.name = router, .layers = layers_of(router)};
  i64& hidden = entry.layers.hidden;
  const i64 wide = hidden;
  const double at_wide = flops_per_token(entry.layers);
  hidden = std::max<i64>(1, wide / 2);
  const double slope = (at_wide - flops_per_token(entry.layers)) / static_cast<double>(wide - hidden);
  hidden = slope > 0 ? std::max<i64>(1, wide + std::llround((dense_flops_ - at_wide) / slope)) : wide;
  entry.flops_per_token = flops_per_token(entry.layers);
  const double passes = feed_forward_kind(router).passes(entry.layers, tokens_per_step() / settings_.batch);
  entry.hidden = std::max<i64>(1, std::llround(static_cast<double>(hidden) / passes));
  const double off = entry.flops_per_token / dense_flops_ - 1;
  if (!(std::abs(off) <= settings_.tolerance))
    throw Error(
        fmt::format("{}: FLOPs per token must be within {:.0f} % of the dense model's; got {:+.1f} % at best "
                    "(a larger --hidden leaves room for what routing costs)",
                    router, 100 * settings_.tolerance, 100 * off));
  GlyphClassifier model(settings_, static_cast<i64>(images_.classes.size()), entry.layers, 1);
  entry.parameters = model.parameter_count();
  entry.active = model.active_parameter_count();
  return entry;
}

namespace {

// Of `count` times, as other work on the machine comes in bursts.
double median_seconds(std::size_t count, const std::function<void()>& work) {
  std::vector<double> times;
  for (std::size_t i = 0; i < count; ++i) {
    const Stopwatch watch;
    work();
    times.push_back(watch.seconds());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<i64>(count / 2), times.end());
  return times[count / 2];
}

}  // namespace

Contest::Pace Contest::pace(const Entry& entry) const {
  RouterTraining training(*this, entry.layers, 1);
  Curve curve;
  for (int warm = 0; warm < 3; ++warm) training.step();
  return {.step = median_seconds(9, [&] { training.step(); }),
          .look = median_seconds(3, [&] { training.look(curve); })};
}

std::optional<Contest::Outcome> Contest::train(const Entry& entry, u64 seed, const Duration& duration,
                                               const TrainingNews& news) const {
  RouterTraining training(*this, entry.layers, seed);
  Curve curve;
  training.look(curve);
  const auto done = [&] {
    return training.steps >= duration.steps && training.training_time.seconds() >= duration.seconds;
  };
  for (i64 looked = 1; !done(); ++looked) {
    const i64 next = std::max(training.steps + 1, looked * std::max<i64>(duration.steps, 1) / settings_.looks);
    while (training.steps < next) {
      if (stop_requested) return {};
      training.step();
      news(training.steps, training.training_time.seconds(), curve.loss.back());
    }
    training.look(curve);
  }
  return training.finish(std::move(curve));
}

}  // namespace examples
