// The options that all training programs have.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "examples/training/progress.h"
#include "nn/optim/schedule.h"

namespace examples {

using namespace moegrad;

struct RunSettings {
  std::string checkpoint, device = "cpu";
  std::optional<std::string> report;  ///< not given: beside the checkpoint
  i64 steps = 600, warmup = 100, log_every = 10, eval_every = 100, watch_every = 10, checkpoint_every = 200;
  double lr = 2e-3, weight_decay = 0.1, clip = 1, balance = 0.01, router_z = 0.001;
  u64 seed = 1;
  int threads = 0;
  bool graph = false, resume = false, quiet = false, json = false;

  CosineSchedule schedule() const { return {.peak = lr, .floor = lr / 10, .warmup = warmup, .total = steps}; }
  Progress::Output output() const;
  /// "": none. Not given, it is the checkpoint's name with .html; without a checkpoint there is none.
  std::string report_path() const;
  /// The weight of an auxiliary loss of that name: --router-z for "router_z", else --balance.
  double weight_of(const std::string& loss) const { return loss == "router_z" ? router_z : balance; }
  /// Threads, and where tensors are made.   Errors  Error: --graph on a CPU.  DeviceError: there is no such device
  void apply() const;
};

/// Adds them, with the values of `settings` as defaults.
void add_run_options(CLI::App& app, RunSettings& settings);

/// The device and what is known of it: "NVIDIA H100 80GB HBM3", "2 threads".
std::string device_text();

}  // namespace examples
