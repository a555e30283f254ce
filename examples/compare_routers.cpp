// Which router is best? The same small model is trained with each of them, from several seeds, at equal FLOPs per token;
// its losses are read at equal FLOPs and at equal wall time, and the report says what exceeds the noise of the seeds.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/device.h"
#include "core/parallel.h"
#include "examples/training/comparison_report.h"
#include "examples/training/progress.h"
#include "examples/training/router_contest.h"
#include "examples/training/run_report.h"
#include "examples/training/terminal.h"

using namespace examples;

namespace {

struct Settings {
  ContestSettings contest;
  std::string routers = "all", report = "compare_routers.html", device = "cpu";
  i64 seeds = 8, steps = 0;
  double minutes = 10, seconds = 0;
  u64 seed = 1;
  int threads = 0;
  bool quiet = false, json = false;

  Progress::Output output() const {
    return json ? Progress::Output::json : quiet ? Progress::Output::quiet : Progress::Output::people;
  }
};

std::vector<std::string> all_routers() {
  std::vector<std::string> names;
  for (const FeedForwardKind& kind : feed_forward_kinds()) names.push_back(kind.name);
  return names;
}

using Number = std::function<void(const char*, i64&, const char*, double)>;
using Real = std::function<void(const char*, double&, const char*, double, double)>;

void add_model_options(ContestSettings& c, const Number& number) {
  number("--image", c.image, "height and width of the images", 8);
  number("--patch", c.patch, "height and width of a token's part of an image", 1);
  number("--width", c.width, "channels of each token", 2);
  number("--layers", c.layers, "transformer blocks, all with the router", 1);
  number("--heads", c.heads, "attention heads; they share the width evenly", 1);
  number("--hidden", c.feed_forward.hidden, "channels inside the dense layer; 0: four times the width", 0);
  number("--experts", c.feed_forward.experts, "experts of each mixture", 2);
  number("--topk", c.feed_forward.topk, "experts that each token uses", 1);
  number("--batch", c.batch, "images in each step", 1);
  number("--training-images", c.training_images, "images to train on", 1);
  number("--validation-images", c.validation_images, "images to read losses on", 1);
  number("--looks", c.looks, "readings of the validation loss in each training", 2);
}

void add_training_options(ContestSettings& c, const Number& number, const Real& real) {
  real("--capacity", c.feed_forward.capacity, "slots of an expert relative to an even share; 0: each router's own", 0,
       1e9);
  number("--warmup", c.warmup, "steps until the learning rate is at its highest; it stays there", 0);
  real("--lr", c.lr, "highest learning rate", 0, 10);
  real("--weight-decay", c.weight_decay, "of matrices", 0, 10);
  real("--clip", c.clip, "largest norm of all gradients together", 1e-9, 1e9);
  real("--balance", c.balance, "weight of losses that balance experts", 0, 1e9);
  real("--router-z", c.router_z, "weight of the router z loss", 0, 1e9);
  real("--average", c.average, "decay of the moving average of the weights that is evaluated", 0, 1);
  real("--flops-tolerance", c.tolerance, "share by which FLOPs per token may differ from those of the dense model", 0,
       1);
}

void add_output_options(CLI::App& app, Settings& s) {
  app.add_option("--report", s.report, "page about the comparison; \"\": none")
      ->capture_default_str()
      ->type_name("FILE");
  app.add_option("--device", s.device, "where to train")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", s.threads, "0: as many as there are cores")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  app.add_flag("--quiet", s.quiet, "no progress, only the result");
  app.add_flag("--json", s.json, "for machines: one JSON object per line (start, evaluation, result)");
  add_config_options(app);
}

void add_options(CLI::App& app, Settings& s) {
  const Number number = [&](const char* name, i64& value, const char* help, double least) {
    app.add_option(name, value, help)->capture_default_str()->check(CLI::Range(least, 1e9));
  };
  const Real real = [&](const char* name, double& value, const char* help, double least, double most) {
    app.add_option(name, value, help)->capture_default_str()->check(CLI::Range(least, most));
  };
  app.add_option("--routers", s.routers,
                 fmt::format("separated by commas, the first is what all others are compared with; or all: {}",
                             fmt::join(all_routers(), ", ")))
      ->capture_default_str()
      ->type_name("LIST");
  number("--seeds", s.seeds, "trainings of each router; differences are taken seed by seed", 2);
  real("--minutes", s.minutes, "for everything, on this machine; the steps are chosen to fit", 0.01, 1e6);
  number("--steps", s.steps, "of each training; 0: as many as the minutes allow", 0);
  real("--seconds", s.seconds, "of each training, at least: who is done with the steps earlier goes on; 0: steps alone",
       0, 1e9);
  app.add_option("--seed", s.seed, "the first seed; the others follow it")->capture_default_str();
  add_model_options(s.contest, number);
  add_training_options(s.contest, number, real);
  add_output_options(app, s);
}

std::vector<std::string> parts(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream in(list);
  for (std::string name; std::getline(in, name, ',');) names.push_back(name);
  return names;
}

// What was asked for, by the names of the table, each once.
std::vector<std::string> chosen_routers(const Settings& s) {
  std::vector<std::string> names;
  for (const std::string& name : s.routers == "all" ? all_routers() : parts(s.routers)) {
    names.push_back(feed_forward_kind(name).name);
    if (std::count(names.begin(), names.end(), names.back()) > 1)
      throw Error(fmt::format("--routers: each may be there once; got {} twice", names.back()));
  }
  if (names.size() < 2) throw Error(fmt::format("--routers: needs two routers; got {}", names.size()));
  return names;
}

class Comparing {
 public:
  explicit Comparing(const Settings& s)
      : settings_(s), routers_(chosen_routers(s)), contest_(s.contest), progress_(s.output()) {}
  int run(const CLI::App& app, const std::string& program);

 private:
  bool prepare();
  i64 steps_that_fit(const std::vector<Contest::Pace>& paces) const;
  bool train_all();
  bool train_one(std::size_t router, u64 seed);
  std::size_t complete_seeds();
  std::string about(std::size_t seeds) const;
  void write(const Comparison& c, const CLI::App& app, const std::string& program) const;

  Settings settings_;
  std::vector<std::string> routers_;
  Contest contest_;
  Progress progress_;
  Stopwatch since_start_;
  std::vector<Contest::Entry> entries_;
  std::vector<Contestant> contestants_;
  i64 steps_ = 0, trained_ = 0;
};

// ---- before

// False: a signal stopped it.
bool Comparing::prepare() {
  const double dense = contest_.dense_flops_per_token();
  progress_.line(fmt::format("{} routers, {} seeds; a dense model of {:.0f} FLOPs per token is the measure",
                             routers_.size(), settings_.seeds, dense));
  std::vector<Contest::Pace> paces;
  for (const std::string& name : routers_) {
    if (stop_requested) return false;
    const Contest::Entry& e = entries_.emplace_back(contest_.enter(name));
    paces.push_back(contest_.pace(e));
    contestants_.push_back({.name = name,
                            .hidden = e.hidden,
                            .parameters = e.parameters,
                            .active = e.active,
                            .flops_per_token = e.flops_per_token});
    progress_.line(fmt::format("  {:<20} {:+5.2f} % FLOPs per token, {:>5.1f} ms per step", name,
                               100 * (e.flops_per_token / dense - 1), 1e3 * paces.back().step));
  }
  steps_ = settings_.steps > 0 ? settings_.steps : steps_that_fit(paces);
  progress_.start({{"program", std::string("compare_routers")},
                   {"routers", static_cast<i64>(routers_.size())},
                   {"seeds", settings_.seeds},
                   {"steps", steps_},
                   {"dense_flops_per_token", dense},
                   {"device", device_text()}});
  return true;
}

// A training is its steps and, before, between and behind them, its looks.
i64 Comparing::steps_that_fit(const std::vector<Contest::Pace>& paces) const {
  double step = 0, look = 0;
  for (const Contest::Pace& p : paces) step += p.step, look += p.look;
  const double left = 60 * settings_.minutes - since_start_.seconds();
  const double looks = static_cast<double>(settings_.contest.looks + 2);
  const double fit = (left / static_cast<double>(settings_.seeds) - looks * look) / step;
  return std::max(settings_.contest.looks, static_cast<i64>(fit));
}

// ---- training

// Seed by seed: what else the machine does, and getting warm, meets all routers alike, and a stop leaves whole seeds.
bool Comparing::train_all() {
  since_start_ = Stopwatch();
  for (i64 i = 0; i < settings_.seeds; ++i)
    for (std::size_t r = 0; r < routers_.size(); ++r)
      if (!train_one(r, settings_.seed + static_cast<u64>(i))) return false;
  return true;
}

Values values_of(const Contest::Outcome& o, const std::string& router, u64 seed) {
  return {{"router", router},
          {"seed", static_cast<i64>(seed)},
          {"losses", o.curve.loss},
          {"accuracies", o.curve.accuracy},
          {"flops", o.curve.flops},
          {"seconds", o.curve.seconds},
          {"variation", o.balance.variation},
          {"dead", o.balance.dead},
          {"dropped", o.balance.dropped}};
}

bool Comparing::train_one(std::size_t router, u64 seed) {
  const i64 all = steps_ * settings_.seeds * static_cast<i64>(routers_.size());
  const auto news = [&](i64 steps, double seconds, double validation) {
    if (settings_.json) return;
    const i64 done = trained_ * steps_ + std::min(steps, steps_);
    const double left = since_start_.seconds() * static_cast<double>(all - done) / static_cast<double>(done);
    const auto rate = static_cast<i64>(static_cast<double>(steps * settings_.contest.batch) / std::max(seconds, 1e-9));
    progress_.step(
        {.step = done,
         .steps = all,
         .seconds_left = left,
         .per_second = rate,
         .unit = "images",
         .numbers = {{"router", routers_[router]}, {"seed", static_cast<i64>(seed)}, {"validation", validation}}});
  };
  auto outcome = contest_.train(entries_[router], seed, {.steps = steps_, .seconds = settings_.seconds}, news);
  if (!outcome) return false;
  if (settings_.json) progress_.evaluation(steps_, values_of(*outcome, routers_[router], seed));
  Contestant& c = contestants_[router];
  if (c.curves.empty()) c.load = std::move(outcome->load);
  c.curves.push_back(std::move(outcome->curve));
  c.balance.push_back(outcome->balance);
  ++trained_;
  return true;
}

// The last router is the last to be trained with a seed; what others have beyond that is left out.
std::size_t Comparing::complete_seeds() {
  const std::size_t complete = contestants_.size() < routers_.size() ? 0 : contestants_.back().curves.size();
  for (Contestant& c : contestants_) {
    c.curves.resize(complete);
    c.balance.resize(complete);
  }
  return complete;
}

// ---- after

std::string Comparing::about(std::size_t seeds) const {
  const ContestSettings& c = settings_.contest;
  std::string text = fmt::format(
      "Images of {} x {} pixels, each with one of ten drawn glyphs, are told apart by a transformer encoder of {} "
      "blocks and width {}, {} steps of {} images. The label stands in no token, so that routers which see a whole "
      "image, and would see the future in a language model, have no advantage here. Those which choose among all "
      "images "
      "of a batch do so in evaluation, too.",
      c.image, c.image, c.layers, c.width, steps_, c.batch);
  if (static_cast<i64>(seeds) < settings_.seeds)
    text += fmt::format(" Stopped early: {} of {} seeds are complete and shown.", seeds, settings_.seeds);
  return text;
}

void Comparing::write(const Comparison& c, const CLI::App& app, const std::string& program) const {
  Report report = comparison_report(c, about(c.routers.front().curves.size()), device_text());
  report.command = command_line(app, program);
  if (settings_.steps == 0) report.command += fmt::format(" --steps {}", steps_);  // the machine's pace chose them
  report.sections.push_back(settings_section(app));
  report.write(settings_.report);
}

Values values_of(const Comparison& c, const std::string& report) {
  Values values{{"flops", c.flops.at}, {"seconds", c.seconds.at}, {"report", report}};
  for (const Reading* r : {&c.flops, &c.seconds}) {
    const std::string where = r->budget == Budget::flops ? "at equal flops" : "at equal time";
    std::string text;
    for (const std::string& sentence : conclusion(*r)) text += (text.empty() ? "" : " ") + sentence;
    values.emplace_back("conclusion " + where, text);
    for (std::size_t i = 0; i < r->names.size(); ++i) values.emplace_back(r->names[i] + " " + where, r->loss[i]);
  }
  return values;
}

int Comparing::run(const CLI::App& app, const std::string& program) {
  const bool finished = prepare() && train_all();
  progress_.clear();
  if (complete_seeds() < 2) {
    progress_.result({{"stopped", std::string("by a signal")}});
    if (!settings_.json) fmt::print("stopped before two seeds were complete: there is nothing to compare yet\n");
    return kStopped;
  }
  const Comparison c = compare(contestants_, contest_.dense_flops_per_token());
  if (!settings_.report.empty()) write(c, app, program);
  progress_.result(values_of(c, settings_.report));
  if (!settings_.json) {
    fmt::print("{}", comparison_text(c));
    if (!finished) fmt::print("stopped: {} of {} seeds are complete\n", c.flops.loss.front().size(), settings_.seeds);
    if (!settings_.report.empty()) fmt::print("look inside: {}\n", settings_.report);
  }
  return finished ? kDone : kStopped;
}

int compare_routers(const Settings& s, const CLI::App& app, const std::string& program) {
  if (s.threads > 0) set_num_threads(s.threads);
  set_default_device(device_named(s.device));
  stop_on_signals();
  return Comparing(s).run(app, program);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains the same small model with every router and says which differences exceed the seed noise."};
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      fmt::format("Example: compare_routers --routers dense,top_k,soft --seeds 12 --minutes 5\n"
                  "Ctrl-C finishes the step; the report is about the seeds that are complete, if there are two.\n"
                  "{}",
                  kExitCodes));
  add_options(app, settings);
  return run_program(app, argc, argv, [&] { return compare_routers(settings, app, argv[0]); });
}
