#include "examples/training/run_settings.h"

#include <fmt/format.h>

#include <filesystem>

#include "core/cuda.h"
#include "core/device.h"
#include "core/parallel.h"
#include "examples/training/terminal.h"

namespace examples {

Progress::Output RunSettings::output() const {
  return json ? Progress::Output::json : quiet ? Progress::Output::quiet : Progress::Output::people;
}

std::string RunSettings::report_path() const {
  if (report) return *report;
  return checkpoint.empty() ? "" : std::filesystem::path(checkpoint).replace_extension(".html").string();
}

void RunSettings::apply() const {
  if (threads > 0) set_num_threads(threads);
  if (graph && device != "cuda") throw Error("--graph needs --device cuda");
  set_default_device(device_named(device));
}

std::string device_text() {
  if constexpr (kWithCuda)
    if (default_device() == Device::cuda) return cuda::device_name();
  return fmt::format("{} threads", num_threads());
}

namespace {

void add_schedule_options(CLI::App& app, RunSettings& s) {
  add_number(app, "--steps", s.steps, "training steps", 0);
  add_number(app, "--lr", s.lr, "highest learning rate", 0, 10);
  add_number(app, "--warmup", s.warmup, "steps until the learning rate is at its highest", 0);
  add_number(app, "--weight-decay", s.weight_decay, "of matrices", 0, 10);
  add_number(app, "--clip", s.clip, "largest norm of all gradients together", 1e-9);
  add_number(app, "--balance", s.balance, "weight of losses that balance experts", 0);
  add_number(app, "--router-z", s.router_z, "weight of the router z loss", 0);
  app.add_option("--seed", s.seed, "of weights, batches and dropout")->capture_default_str();
}

void add_file_options(CLI::App& app, RunSettings& s) {
  app.add_option("--checkpoint", s.checkpoint, "file to save to; \"\": none")->capture_default_str()->type_name("FILE");
  add_number(app, "--checkpoint-every", s.checkpoint_every, "steps between saves; 0: only at the end", 0);
  app.add_flag("--resume", s.resume, "go on from the checkpoint, if there is one");
  app.add_option("--report", s.report, "page about the run; \"\": none; not given: the checkpoint's name, but .html")
      ->type_name("FILE");
}

}  // namespace

void add_run_options(CLI::App& app, RunSettings& s) {
  add_schedule_options(app, s);
  add_file_options(app, s);
  add_number(app, "--log-every", s.log_every, "steps between looks at the loss, which wait for a GPU; on a CPU: 1", 1);
  add_number(app, "--eval-every", s.eval_every, "steps between looks at validation data; 0: only at the end", 0);
  add_number(app, "--watch-every", s.watch_every, "steps between looks at what routers do, for the report; 0: never",
             0);
  add_choice(app, "--device", s.device, "where to train", {"cpu", "cuda"});
  app.add_flag("--graph", s.graph, "on a GPU: capture a step once, then replay it");
  add_number(app, "--threads", s.threads, "0: as many as there are cores", 0, 1024);
  app.add_flag("--quiet", s.quiet, "no progress, only the result");
  app.add_flag("--json", s.json, "for machines: one JSON object per line (start, step, evaluation, result)");
}

}  // namespace examples
