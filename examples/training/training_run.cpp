#include "examples/training/training_run.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "core/autograd.h"
#include "examples/training/terminal.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/update.h"

namespace examples {
namespace {

constexpr double kKeep = 0.98;  // of the moving average of the loss, at each step

}  // namespace

TrainingRun::TrainingRun(TrainingTask& task, const RunSettings& settings, const Notes& notes, Progress& progress)
    : task_(task),
      settings_(settings),
      notes_(notes),
      progress_(progress),
      optimizer_(decay_matrices(task.model(), settings.weight_decay), {.beta2 = 0.99}),
      schedule_(settings.schedule()) {
  training_time_.pause();
  const std::string& path = settings.checkpoint;
  if (path.empty() || !std::filesystem::exists(path)) return;
  if (settings.resume)
    go_on();
  else
    progress_.line(fmt::format("{} will be replaced (--resume would continue it)", path));
}

void TrainingRun::go_on() {
  with_hint("--resume needs the options of the run that it continues; steps and learning rate may change", [&] {
    record_ = RunRecord::from(load_checkpoint(settings_.checkpoint, task_.state(optimizer_, schedule_, step_), notes_));
  });
  progress_.line(fmt::format("going on from step {} of {}", step_, settings_.checkpoint));
  if (schedule_ != settings_.schedule())
    progress_.line("steps or learning rate are new: the rest of the run follows them");
  schedule_ = settings_.schedule();
  first_step_ = step_;
}

// What a graph does in each replay: no value is read here, and nothing but tensors changes from step to step. Handles in
// `latest_` stay those of this call, and hold the values of the latest replay.
void TrainingRun::learn() {
  TrainingState state = task_.state(optimizer_, schedule_, step_);
  state.random.advance();
  Context context{.training = true, .random = &state.random};
  const Tensor loss = task_.loss(context);
  latest_ = {{"loss", loss.detach()}};
  Tensor total = loss;
  for (const auto& [name, value] : context.losses) {
    weights_[name] = settings_.weight_of(name);
    total = total + value * weights_[name];
    latest_.push_back({name, value.detach()});
  }
  total.backward();
  const Clip clip = clip_grad_norm(optimizer_.parameters(), settings_.clip);
  latest_.push_back({"gradient norm", clip.norm});
  optimizer_.step(clip.scale);
  optimizer_.zero_grad();
  average_update(smooth_, cast(loss.detach(), DType::f64), kKeep);
}

// The first step is done by itself, so that a capture finds everything made.
void TrainingRun::step_once() {
  optimizer_.set_lr(schedule_.lr(step_));
  task_.next_batch();
  if (settings_.graph && step_ > first_step_ && !graph_) graph_ = Graph::capture([this] { learn(); });
  if (graph_)
    graph_->replay();
  else
    learn();
  ++step_;
}

// Waits for the GPU.
void TrainingRun::look(bool record) {
  smooth_loss_ = smooth_.item() / (1 - std::pow(kKeep, static_cast<double>(steps_done())));
  if (!std::isfinite(smooth_loss_))
    throw Error(fmt::format("the loss is {} at step {}: try a smaller --lr", smooth_loss_, step_));
  if (!record) return;
  for (const NamedTensor& scalar : latest_) record_.scalars.add(step_, scalar.name, scalar.tensor.item());
  record_.scalars.add(step_, "learning rate", schedule_.lr(step_ - 1));
}

// Routers that draw in evaluation, too, get the same numbers at each look.
void TrainingRun::watch() {
  if (!routes_) return;
  no_grad guard;
  RoutingMaps maps;
  Random random(settings_.seed);
  Context context{.random = &random, .watch = &maps};
  task_.probe(context);
  routes_ = !maps.all().empty();
  if (routes_) record_.loads.add(step_, maps.all());
}

namespace {

// The names of a model's router parameters, as a pattern; "": it has none.
std::string router_pattern(Module& model) {
  for (const char* part : {"router", "gate.to_gates", "slot_embeds", "phi"})
    for (const Member& m : model.named_parameters())
      if (m.name.find(part) != std::string::npos) return fmt::format("*{}*", part);
  return "";
}

// Takes the part "noise" out where there is none.
bool drop_silent_noise(std::vector<RouterGradient>& gradients) {
  for (const RouterGradient& g : gradients)
    if (g.part("noise").norm > 0) return false;
  for (RouterGradient& g : gradients) g.parts.pop_back();  // it is the last
  return true;
}

}  // namespace

// Not beside a graph: its random stream lies on the GPU and belongs to the replays. Without noise both passes of
// router_gradients have the same bits, so that one is enough.
void TrainingRun::split_gradients() {
  const std::string pattern = router_pattern(task_.model());
  if (pattern.empty() || settings_.graph) return;
  const Random& random = task_.state(optimizer_, schedule_, step_).random;
  std::vector<RouterGradient> gradients =
      router_gradients(task_.model(), random, [this](Context& context) { return task_.loss(context); },
                       {.parameters = pattern, .weights = weights_, .noise = noisy_});
  if (noisy_) noisy_ = !drop_silent_noise(gradients);
  record_.gradients.add(step_, gradients);
}

void TrainingRun::save() {
  if (settings_.checkpoint.empty()) return;
  Notes notes = notes_;
  record_.write(notes);
  save_checkpoint(settings_.checkpoint, task_.state(optimizer_, schedule_, step_), notes);
}

i64 TrainingRun::per_second() const {
  const double items = static_cast<double>(steps_done() * task_.items_per_step());
  return seconds() > 0 ? static_cast<i64>(items / seconds()) : 0;
}

void TrainingRun::show() {
  if (settings_.json && !every(settings_.log_every) && step_ != settings_.steps) return;
  const double left = static_cast<double>(settings_.steps - step_) / static_cast<double>(steps_done());
  progress_.step({.step = step_,
                  .steps = settings_.steps,
                  .seconds_left = left * seconds(),
                  .per_second = per_second(),
                  .unit = task_.items(),
                  .numbers = {{"loss", smooth_loss_}}});
}

bool TrainingRun::run() {
  const i64 look_every = default_device() == Device::cuda ? settings_.log_every : 1;
  training_time_.go_on();
  while (step_ < settings_.steps && !stop_requested) {
    step_once();
    const bool last = step_ == settings_.steps, evaluates = every(settings_.eval_every) && !last,
               watches = every(settings_.watch_every) || last, saves = every(settings_.checkpoint_every) && !last,
               looks = every(look_every) || last;
    if (!looks && !evaluates && !watches && !saves && !stop_requested) continue;
    look(looks);
    training_time_.pause();
    show();
    if (watches && settings_.watch_every > 0) watch();
    if (evaluates) {
      const Values values = task_.evaluate();
      for (const auto& [name, value] : values) record_.scalars.add(step_, name, std::get<double>(value));
      split_gradients();
      progress_.evaluation(step_, values);
    }
    if (saves) save();
    training_time_.go_on();
  }
  training_time_.pause();
  save();
  progress_.clear();
  return step_ >= settings_.steps;
}

}  // namespace examples
