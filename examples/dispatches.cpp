// What the five ways of examples/dispatches.h cost. All of them are first compared in f64: one result, one gradient.
#include "examples/dispatches.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>

#include "core/memory.h"
#include "ops/autodiff/cost.h"

using namespace moegrad;
using namespace moegrad::examples;

namespace {

struct Sizes {
  i64 groups = 4, tokens = 256, width = 64, hidden = 256, experts = 8, k = 2;
  double capacity = 1.25;
};

std::unique_ptr<MoE> layer_of(const Sizes& s, DType dtype) {
  Random random(1);
  Init init(random, dtype);
  return make_moe(s.width, {.experts = s.experts, .k = s.k, .capacity_factor = s.capacity, .hidden = s.hidden}, init);
}
Tensor input_of(const Sizes& s, DType dtype) {
  return random_normal({s.groups, s.tokens, s.width}, 0, 1, Random(2).next(), dtype);
}

// y, and the gradients of x and of every parameter.
std::vector<Tensor> step(Dispatch dispatch, MoE& moe, const Tensor& input) {
  const Tensor x = input.detach().requires_grad_();
  Context context;
  const Tensor y = dispatch(moe, x, context);
  std::vector<Tensor> leaves{x};
  for (const Tensor& p : moe.parameters()) leaves.push_back(p);
  std::vector<Tensor> results = grad(sum(square(y)), leaves);
  results.push_back(y.detach());
  return results;
}

double largest_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double apart = amax(abs(a[i] - b[i])).item();
    if (std::isnan(apart)) return apart;  // max would lose it
    worst = std::max(worst, apart);
  }
  return worst;
}

struct Row {
  Cost cost;
  double peak_megabytes, milliseconds;
};

Row measure(Dispatch dispatch, const Sizes& s, int repeats) {
  const std::unique_ptr<MoE> moe = layer_of(s, DType::f32);
  const Tensor x = input_of(s, DType::f32);
  Row row{};
  {
    CostLedger ledger;
    step(dispatch, *moe, x);
    row.cost = ledger.total();
  }
  const i64 before = memory::stats().current_bytes;
  memory::reset_peak();
  row.milliseconds = 1e300;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    step(dispatch, *moe, x);
    row.milliseconds = std::min(
        row.milliseconds, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  row.peak_megabytes = static_cast<double>(memory::stats().peak_bytes - before) / 1e6;
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  Sizes s;
  int repeats = 5;
  CLI::App app{"One mixture of experts, dispatched in five ways: the same numbers, at different cost."};
  app.add_option("--groups", s.groups, "routing groups G")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--tokens", s.tokens, "tokens of a group N")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--width", s.width, "D")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--hidden", s.hidden, "F")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--experts", s.experts, "E")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--topk", s.k, "experts per token K")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--capacity", s.capacity, "capacity factor")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--repeats", repeats, "timed steps; the fastest counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    const std::unique_ptr<MoE> moe = layer_of(s, DType::f64);
    const std::vector<Tensor> want = step(all_experts, *moe, input_of(s, DType::f64));
    fmt::print("G {}, N {}, D {}, F {}, E {}, K {}, capacity factor {}; forward and backward in f32\n\n", s.groups,
               s.tokens, s.width, s.hidden, s.experts, s.k, s.capacity);
    fmt::print("| dispatch | difference in f64 | MFLOP | MB moved | peak MB | ms |\n|---|---|---|---|---|---|\n");
    for (const NamedDispatch& way : kDispatches) {
      const double difference = largest_difference(step(way.run, *moe, input_of(s, DType::f64)), want);
      const Row row = measure(way.run, s, repeats);
      fmt::print("| {} | {:.0e} | {:.1f} | {:.1f} | {:.2f} | {:.2f} |\n", way.name, difference, row.cost.flops / 1e6,
                 row.cost.bytes / 1e6, row.peak_megabytes, row.milliseconds);
      if (!(difference <= 1e-10 * std::max(1.0, amax(abs(want[0])).item()))) {
        fmt::print(stderr, "dispatches: '{}' must agree with '{}'; its largest difference is {}\n", way.name,
                   kDispatches[0].name, difference);
        return 1;
      }
    }
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
