// Learning rates, and momentum where a schedule cycles it, step by step.
#include "nn/optim/schedule.h"

#include <fmt/format.h>

#include <cmath>

#include "tests/golden/run.h"

namespace moegrad::golden {
namespace {

// A schedule as its two functions of the step; momentum may be absent.
struct Curves {
  std::function<double(i64)> lr, momentum;
};
template <class Schedule> Curves curves(const Schedule& s) {
  return {[s](i64 step) { return s.lr(step); }, {}};
}
using Make = std::function<Curves(double base_lr, Arguments& a)>;

Curves one_cycle(Arguments& a) {
  OneCycle s{.peak = a.number("max_lr")};
  const i64 epochs = a.integer("epochs", 1), per_epoch = a.integer("steps_per_epoch", 1);
  s.total = a.integer("total_steps", epochs * per_epoch);
  s.rise = a.number("pct_start", 0.3);
  s.start_ratio = a.number("div_factor", 25);
  s.end_ratio = a.number("final_div_factor", 1e4);
  s.fast = a.number("base_momentum", 0.85);
  s.calm = a.number("max_momentum", 0.95);
  s.three_phases = a.flag("three_phase", false);
  const std::string anneal = a.text("anneal_strategy", "cos");
  if (anneal != "cos" && anneal != "linear") throw CaseError("anneal_strategy must be cos or linear");
  s.linear = anneal == "linear";
  Curves c = curves(s);
  if (a.flag("cycle_momentum", true)) c.momentum = [s](i64 step) { return s.momentum(step); };
  return c;
}

std::map<std::string, Make> schedules() {
  return {{"constant",
           [](double lr, Arguments& a) {
             const i64 steps = a.integer("total_iters", 5);
             return curves(MilestoneDecay{lr * a.number("factor", 1.0 / 3), 1 / a.number("factor", 1.0 / 3), {steps}});
           }},
          {"cosine",
           [](double lr, Arguments& a) {
             return curves(CosineWave{lr, a.number("eta_min", 0), a.integer("T_max")});
           }},
          {"cosine_restarts",
           [](double lr, Arguments& a) {
             return curves(CosineRestarts{lr, a.number("eta_min", 0), a.integer("T_0"), a.integer("T_mult", 1)});
           }},
          {"exponential",
           [](double lr, Arguments& a) {
             return curves(ExponentialDecay{lr, a.number("gamma")});
           }},
          {"linear",
           [](double lr, Arguments& a) {
             return curves(LinearSchedule{lr, a.number("start_factor", 1.0 / 3), a.number("end_factor", 1),
                                          a.integer("total_iters", 5)});
           }},
          {"multistep",
           [](double lr, Arguments& a) {
             return curves(MilestoneDecay{lr, a.number("gamma", 0.1), a.integers("milestones")});
           }},
          {"onecycle", [](double, Arguments& a) { return one_cycle(a); }},  // max_lr takes the place of base_lr
          {"polynomial",
           [](double lr, Arguments& a) {
             return curves(PolynomialDecay{lr, a.number("power", 1), a.integer("total_iters", 5)});
           }},
          {"step",
           [](double lr, Arguments& a) {
             return curves(StepDecay{lr, a.number("gamma", 0.1), a.integer("step_size")});
           }},
          {"warmup",
           [](double lr, Arguments& a) {
             return curves(ConstantSchedule{lr, a.integer("warmup")});
           }},
          {"warmup_cosine", [](double lr, Arguments& a) {
             return curves(CosineSchedule{lr, lr * a.number("floor", 0), a.integer("warmup"), a.integer("total")});
           }}};
}

}  // namespace

void run_schedule(Bundle& bundle, const Case& c, Comparison& comparison) {
  static const auto table = schedules();
  const auto make = table.find(c.op);
  if (make == table.end()) throw CaseError(fmt::format("unknown schedule '{}'", c.op));
  Arguments args(c.args, bundle.dtype());
  const Curves curves = make->second(args.number("base_lr", NAN), args);
  const i64 steps = bundle.take(c.name + ".lr").size();
  if (args.integer("steps", steps) != steps) throw CaseError(fmt::format("the file has the rates of {} steps", steps));
  args.check_all_read();
  const auto check = [&](const char* what, const std::function<double(i64)>& curve) {
    std::vector<double> values;
    for (i64 step = 0; step < steps; ++step) values.push_back(curve(step));
    comparison.check(what, from_vector(values, {steps}, bundle.dtype()), bundle.take(c.name + "." + what));
  };
  check("lr", curves.lr);
  if (curves.momentum) check("momentum", curves.momentum);
}

}  // namespace moegrad::golden
