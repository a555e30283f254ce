// Trains a character-level transformer language model with a mixture of experts in every block.
//
//   train_lm                                 on moegrad's own sources and documents
//   train_lm --data FILE --steps 5000        on any text
//   train_lm --device cuda --capacity 1.25 --graph   on a GPU, each step one captured graph
//   train_lm --resume                        goes on where the checkpoint was written, bit for bit
//
// Exit codes: 0 done, 130 stopped by Ctrl-C or SIGTERM (after writing a checkpoint), 1 error, others: wrong options.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <optional>

#include "core/atomic_file.h"
#include "core/cuda.h"
#include "core/graph.h"
#include "examples/training/progress.h"
#include "nn/moegrad.h"

using namespace moegrad;
using namespace examples;

namespace {

struct Settings {
  std::string data, checkpoint = "train_lm.safetensors", ffn = "moe", activation = "gelu", device = "cpu";
  i64 layers = 4, width = 128, heads = 4, hidden = 0, experts = 8, topk = 2, block = 64, batch = 16;
  i64 steps = 600, warmup = 100, eval_every = 100, log_every = 10, checkpoint_every = 200, sample = 300;
  double capacity = 0, lr = 2e-3, dropout = 0, weight_decay = 0.1, clip = 1, balance = 0.01, router_z = 0.001;
  double temperature = 0.8;
  u64 seed = 1;
  int threads = 0;
  bool graph = false, resume = false, quiet = false;

  /// What a checkpoint must have been made with to be continued. Steps and learning rate may change.
  Notes notes(const std::string& text) const {
    return {{"layers", std::to_string(layers)},
            {"width", std::to_string(width)},
            {"heads", std::to_string(heads)},
            {"hidden", std::to_string(hidden)},
            {"experts", std::to_string(experts)},
            {"topk", std::to_string(topk)},
            {"capacity", fmt::format("{}", capacity)},
            {"block", std::to_string(block)},
            {"batch", std::to_string(batch)},
            {"dropout", fmt::format("{}", dropout)},
            {"ffn", ffn},
            {"activation", activation},
            {"seed", std::to_string(seed)},
            {"data", fingerprint(text)}};
  }
  CosineSchedule schedule() const { return {.peak = lr, .floor = lr / 10, .warmup = warmup, .total = steps}; }
};

void add_options(CLI::App& app, Settings& s) {
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const auto number = [&](const char* name, auto& value, const char* help, double least, double most = 1e9) {
    app.add_option(name, value, help)->capture_default_str()->check(CLI::Range(least, most));
  };
  app.add_option("--device", s.device, "where to train")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_flag("--graph", s.graph, "on a GPU: capture a step once, then replay it");
  app.add_option("--data", s.data, "text to train on (default: moegrad's own sources and documents)");
  number("--layers", s.layers, "transformer blocks", 0);
  number("--width", s.width, "channels of each position", 1);
  number("--heads", s.heads, "attention heads; they share the width evenly", 1);
  app.add_option("--ffn", s.ffn, "feed-forward layers: a mixture of experts, or dense ones")
      ->capture_default_str()
      ->check(CLI::IsMember({"moe", "dense"}));
  app.add_option("--activation", s.activation, "of the feed-forward layers")
      ->capture_default_str()
      ->check(CLI::IsMember({"relu", "gelu", "silu", "swiglu", "geglu"}));
  number("--hidden", s.hidden, "channels inside a feed-forward layer; 0: four times the width", 0);
  number("--experts", s.experts, "experts of each mixture", 1);
  number("--topk", s.topk, "experts that each token uses", 1);
  number("--capacity", s.capacity, "slots of an expert relative to an even share; 0: no token is ever dropped", 0);
  number("--block", s.block, "characters that the model sees at once", 1);
  number("--batch", s.batch, "windows of text in each step", 1);
  number("--steps", s.steps, "training steps", 0);
  number("--lr", s.lr, "highest learning rate", 0, 10);
  number("--warmup", s.warmup, "steps until the learning rate is at its highest", 0);
  number("--weight-decay", s.weight_decay, "of matrices", 0, 10);
  number("--clip", s.clip, "largest norm of all gradients together", 1e-9);
  number("--dropout", s.dropout, "probability", 0, 0.99);
  number("--balance", s.balance, "weight of the load-balancing loss", 0);
  number("--router-z", s.router_z, "weight of the router z loss", 0);
  app.add_option("--seed", s.seed, "of weights, batches and dropout")->capture_default_str();
  number("--log-every", s.log_every, "steps between looks at the loss, which wait for a GPU; on a CPU: 1", 1);
  number("--eval-every", s.eval_every, "steps between looks at validation text; 0: only at the end", 0);
  app.add_option("--checkpoint", s.checkpoint, "file to save to; \"\": none")->capture_default_str();
  number("--checkpoint-every", s.checkpoint_every, "steps between saves; 0: only at the end", 0);
  app.add_flag("--resume", s.resume, "go on from the checkpoint, if there is one");
  number("--sample", s.sample, "characters to write at the end", 0);
  number("--temperature", s.temperature, "of the sample; 0: always the likeliest character", 0);
  number("--threads", s.threads, "0: as many as there are cores", 0, 1024);
  app.add_flag("--quiet", s.quiet, "no progress, only the result");
}

std::unique_ptr<Layer> make_feed_forward(const Settings& s, double output_gain, Init& init) {
  const Activation activation = activation_by_name(s.activation);
  if (s.ffn == "dense")
    return std::make_unique<FeedForward>(
        s.width,
        FeedForward::Options{
            .hidden = s.hidden, .activation = activation, .dropout = s.dropout, .output_gain = output_gain},
        init);
  return make_moe(s.width,
                  {.experts = s.experts,
                   .k = s.topk,
                   .capacity_factor = s.capacity,
                   .hidden = s.hidden,
                   .activation = activation,
                   .bias = true,
                   .dropout = s.dropout,
                   .output_gain = output_gain},
                  init);
}

/// Mean loss over a whole text, or over `most` batches spread evenly over it; and the tokens that each expert got.
struct Evaluation {
  double nats = 0;
  std::map<std::string, std::vector<double>> load;  // by layer
};
Evaluation evaluate(const LanguageModel& model, const WholeText& text, i64 most) {
  no_grad guard;
  Evaluation result;
  double characters = 0;
  const i64 count = std::min(most, text.batches());
  for (i64 i = 0; i < count; ++i) {
    const Batch batch = text.at(i * text.batches() / count);
    Context context;
    const double n = static_cast<double>(batch.targets.size());
    result.nats += n * cross_entropy(model.forward(batch.inputs, context), batch.targets).item();
    characters += n;
    for (const NamedTensor& record : context.records) {
      if (!record.name.ends_with(".load")) continue;
      std::vector<double>& sum = result.load[record.name.substr(0, record.name.size() - 5)];
      const std::vector<double> load = record.tensor.to_vector<double>();
      sum.resize(load.size());
      for (std::size_t e = 0; e < load.size(); ++e) sum[e] += load[e];
    }
  }
  result.nats /= std::max(characters, 1.0);
  return result;
}

constexpr double kKeep = 0.98;  // of the moving average of the loss, at each step

class Training {
 public:
  Training(const Settings& s, const std::string& text);
  /// True when all steps are done, false when a signal stopped it.
  bool run();
  void report();

 private:
  void step_once();
  void learn();
  double loss();
  void save();
  i64 tokens_per_second() const;

  Settings settings_;
  Notes notes_;
  TextData text_;
  Random random_;
  Init init_{random_};
  LanguageModel model_;
  AdamW optimizer_;
  CosineSchedule schedule_;
  RandomBatches batches_;
  Batch batch_;  // the tensors of every step
  WholeText validation_;
  Tensor smooth_ = zeros({}, DType::f64);  // moving average of the loss, from 0
  std::optional<Graph> graph_;
  i64 step_ = 0, first_step_ = 0;
  Stopwatch training_time_;
  Progress progress_;
};

std::string where() {
  if constexpr (kWithCuda)
    if (default_device() == Device::cuda) return cuda::device_name();
  return fmt::format("{} threads", num_threads());
}

Training::Training(const Settings& s, const std::string& text)
    : settings_(s),
      notes_(s.notes(text)),
      text_(text),
      random_(s.seed),
      model_(
          {.vocabulary = text_.vocabulary.size(),
           .context = s.block,
           .width = s.width,
           .layers = s.layers,
           .heads = s.heads,
           .dropout = s.dropout},
          [&](i64, double gain, Init& init) { return make_feed_forward(s, gain, init); }, init_),
      optimizer_(decay_matrices(model_, s.weight_decay), {.beta2 = 0.99}),
      schedule_(s.schedule()),
      batches_(text_.training, s.batch, s.block, s.seed),
      batch_(batches_.at(0)),
      validation_(text_.validation, 64, s.block),
      progress_(s.quiet) {
  training_time_.pause();
  const bool exists = !s.checkpoint.empty() && std::filesystem::exists(s.checkpoint);
  if (exists && s.resume) {
    load_checkpoint(s.checkpoint, {model_, optimizer_, schedule_, random_, batches_, step_}, notes_);
    progress_.line(fmt::format("going on from step {} of {}", step_, s.checkpoint));
    if (schedule_ != s.schedule()) progress_.line("steps or learning rate are new: the rest of the run follows them");
    schedule_ = s.schedule();
  } else if (exists) {
    progress_.line(fmt::format("{} will be replaced (--resume would continue it)", s.checkpoint));
  }
  first_step_ = step_;
  progress_.line(fmt::format("{} characters to train on, {} to validate, {} different ones",
                             with_commas(static_cast<i64>(text_.training.size())),
                             with_commas(static_cast<i64>(text_.validation.size())), text_.vocabulary.size()));
  progress_.line(fmt::format("{} parameters, {} active per token, {}", with_commas(model_.parameter_count()),
                             with_commas(model_.active_parameter_count()), where()));
}

// What a graph does in each replay: no value is read here, and nothing but tensors changes from step to step.
void Training::learn() {
  random_.advance();
  Context context{.training = true, .random = &random_};
  const Tensor loss = cross_entropy(model_.forward(batch_.inputs, context), batch_.targets);
  Tensor total = loss;
  for (const auto& [name, value] : context.losses)
    total = total + value * (name == "load_balancing" ? settings_.balance : settings_.router_z);
  total.backward();
  optimizer_.step(clip_grad_norm(optimizer_.parameters(), settings_.clip).scale);
  optimizer_.zero_grad();
  average_update(smooth_, cast(loss.detach(), DType::f64), kKeep);
}

// The first step is done by itself, so that a capture finds everything made.
void Training::step_once() {
  optimizer_.set_lr(schedule_.lr(step_));
  batches_.next(batch_);
  if (settings_.graph && step_ > first_step_ && !graph_) graph_ = Graph::capture([this] { learn(); });
  if (graph_)
    graph_->replay();
  else
    learn();
  ++step_;
}

// Waits for the GPU.
double Training::loss() {
  const double value = smooth_.item() / (1 - std::pow(kKeep, static_cast<double>(step_ - first_step_)));
  if (!std::isfinite(value)) throw Error(fmt::format("the loss is {} at step {}: try a smaller --lr", value, step_));
  return value;
}

void Training::save() {
  if (!settings_.checkpoint.empty())
    save_checkpoint(settings_.checkpoint, {model_, optimizer_, schedule_, random_, batches_, step_}, notes_);
}

i64 Training::tokens_per_second() const {
  return static_cast<i64>(static_cast<double>((step_ - first_step_) * settings_.batch * settings_.block) /
                          training_time_.seconds());
}

bool Training::run() {
  const i64 look_every = default_device() == Device::cuda ? settings_.log_every : 1;
  const auto every = [&](i64 n) { return n > 0 && step_ % n == 0 && step_ < settings_.steps; };
  training_time_.go_on();
  while (step_ < settings_.steps && !stop_requested) {
    step_once();
    const bool stops = step_ == settings_.steps || stop_requested;
    if (!stops && !every(look_every) && !every(settings_.eval_every) && !every(settings_.checkpoint_every)) continue;
    const double smooth = loss();
    training_time_.pause();
    const double left = static_cast<double>(settings_.steps - step_) / static_cast<double>(step_ - first_step_);
    progress_.show(step_, settings_.steps, left * training_time_.seconds(),
                   fmt::format("loss {:.4f}  {} tokens/s", smooth, with_commas(tokens_per_second())));
    if (every(settings_.eval_every))
      progress_.line(fmt::format("step {:>6}  loss {:.4f}  validation {:.4f}", step_, smooth,
                                 evaluate(model_, validation_, 16).nats));
    if (every(settings_.checkpoint_every)) save();
    training_time_.go_on();
  }
  training_time_.pause();
  save();
  progress_.clear();
  return step_ >= settings_.steps;
}

void Training::report() {
  const Evaluation result = evaluate(model_, validation_, validation_.batches());
  if (settings_.sample > 0) {
    Random random(settings_.seed + 1);
    const auto sample = generate(model_, std::span<const i32>(text_.validation).first(1), settings_.sample,
                                 settings_.temperature, random);
    fmt::print("\na sample:\n{}\n", text_.vocabulary.decode(sample));
  }
  if (!result.load.empty())
    fmt::print("\ntokens of each expert in percent; an even share is {:.1f}\n",
               100.0 / static_cast<double>(settings_.experts));
  for (const auto& [layer, load] : result.load) {
    double total = 0;
    for (const double v : load) total += v;
    fmt::print("  {:<22}", layer);
    for (const double v : load) fmt::print(" {:>4.1f}", 100 * v / std::max(total, 1.0));
    fmt::print("\n");
  }
  fmt::print("\n{} parameters, {} active per token\n", with_commas(model_.parameter_count()),
             with_commas(model_.active_parameter_count()));
  if (step_ > first_step_)
    fmt::print("{} steps in {:.1f} s, {} tokens/s\n", with_commas(step_ - first_step_), training_time_.seconds(),
               with_commas(tokens_per_second()));
  const i64 V = text_.vocabulary.size();
  fmt::print("nats per character on the whole validation text, {} characters\n", with_commas(validation_.targets()));
  fmt::print("  unigram baseline  {:.4f}\n", unigram_nats(text_.training, text_.validation, V));
  fmt::print("  bigram baseline   {:.4f}\n", bigram_nats(text_.training, text_.validation, V));
  fmt::print("  this model        {:.4f}\n", result.nats);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains a character-level language model with mixture-of-experts layers."};
  app.footer("Ctrl-C finishes the step, writes the checkpoint and exits with code 130; --resume goes on from there.");
  add_options(app, settings);
  CLI11_PARSE(app, argc, argv);
  try {
    if (settings.threads > 0) set_num_threads(settings.threads);
    if (settings.graph && settings.device != "cuda") throw Error("--graph needs --device cuda");
    set_default_device(device_named(settings.device));
    stop_on_signals();
    Training training(settings, settings.data.empty() ? project_text(MOEGRAD_SOURCE_DIR) : read_file(settings.data));
    if (!training.run()) {
      fmt::print("stopped{}\n", settings.checkpoint.empty() ? "" : "; --resume goes on from here");
      return kStopped;
    }
    training.report();
  } catch (const std::exception& e) {
    fmt::print(stderr, "train_lm: {}\n", e.what());
    return 1;
  }
  return 0;
}
