// Learning rate schedules: small values with one function, the rate of the step that comes after `step` steps.
//   optimizer.set_lr(schedule.lr(step));
// PyTorch's schedulers in closed form; where one has a name of its own there, the card gives it.
#pragma once
#include <vector>

#include "core/fwd.h"

namespace moegrad {

/// `rate`, reached in a line over `warmup` steps: rate (step + 1) / warmup before.
struct ConstantSchedule {
  double rate = 1e-3;
  i64 warmup = 0;
  double lr(i64 step) const;
  bool operator==(const ConstantSchedule&) const = default;
};

/// The learning rate rises in a line over `warmup` steps, then falls along half a cosine to `floor` at step `total`.
///   Source  Loshchilov, Hutter: SGDR (2017), arXiv:1608.03983, equation 5, with one period
struct CosineSchedule {
  double peak = 1e-3, floor = 1e-4;
  i64 warmup = 100, total = 1000;
  double lr(i64 step) const;
  bool operator==(const CosineSchedule&) const = default;
};

/// floor + (peak - floor) (1 + cos(pi step / half_period)) / 2: it rises again after half a period (CosineAnnealingLR).
struct CosineWave {
  double peak = 1e-3, floor = 0;
  i64 half_period = 1000;
  double lr(i64 step) const;
};

/// Half a cosine from peak to floor within cycles of first, first growth, first growth^2, .. steps, back to peak at the
/// start of each (CosineAnnealingWarmRestarts).
///   Source  SGDR (2017), arXiv:1608.03983, equation 5
struct CosineRestarts {
  double peak = 1e-3, floor = 0;
  i64 first = 100, growth = 1;
  double lr(i64 step) const;
};

/// rate factor^(step / every), in whole periods (StepLR).
struct StepDecay {
  double rate = 1e-3, factor = 0.1;
  i64 every = 100;
  double lr(i64 step) const;
};

/// rate factor^(milestones <= step); a milestone may be there twice (MultiStepLR).
struct MilestoneDecay {
  double rate = 1e-3, factor = 0.1;
  std::vector<i64> milestones;
  double lr(i64 step) const;
};

/// rate factor^step (ExponentialLR).
struct ExponentialDecay {
  double rate = 1e-3, factor = 0.99;
  double lr(i64 step) const;
};

/// rate times a factor that goes in a line from `from` to `to` over `steps` steps, and stays (LinearLR).
struct LinearSchedule {
  double rate = 1e-3, from = 1.0 / 3, to = 1;
  i64 steps = 5;
  double lr(i64 step) const;
};

/// rate (1 - min(step, steps) / steps)^power (PolynomialLR).
struct PolynomialDecay {
  double rate = 1e-3, power = 1;
  i64 steps = 5;
  double lr(i64 step) const;
};

/// Up from peak / start_ratio to peak, then down to peak / start_ratio / end_ratio at step total - 1; the momentum the
/// other way round, between `calm` and `fast` (OneCycleLR). With three_phases it comes down to the start as it went up,
/// and then on to the end, while the momentum stays calm.
///   Source  Smith, Topin: Super-convergence (2017), arXiv:1708.07120, section 4
struct OneCycle {
  double peak = 1e-2;
  i64 total = 1000;
  double rise = 0.3;  ///< share of the steps that go up
  double start_ratio = 25, end_ratio = 1e4;
  double calm = 0.95, fast = 0.85;  ///< momentum at the start, and at the peak
  bool linear = false;              ///< straight lines in place of half cosines
  bool three_phases = false;
  double lr(i64 step) const;
  double momentum(i64 step) const;
};

}  // namespace moegrad
