#include "nn/optim/schedule.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace moegrad;
using doctest::Approx;

TEST_CASE("cosine schedule: warm-up, peak, middle, floor") {
  const CosineSchedule schedule{.peak = 1, .floor = 0.1, .warmup = 10, .total = 110};
  CHECK(schedule.lr(0) == doctest::Approx(0.1));
  CHECK(schedule.lr(9) == doctest::Approx(1));
  CHECK(schedule.lr(10) == doctest::Approx(1));
  CHECK(schedule.lr(60) == doctest::Approx(0.55));
  CHECK(schedule.lr(109) > 0.1);
  CHECK(schedule.lr(110) == 0.1);
  CHECK(schedule.lr(5000) == 0.1);
  CHECK(CosineSchedule{.peak = 1, .floor = 0, .warmup = 0, .total = 0}.lr(0) == 0);
}

TEST_CASE("schedules: their corners, and steps far beyond") {
  constexpr i64 kFar = std::numeric_limits<i64>::max();
  CHECK(ConstantSchedule{2, 4}.lr(1) == 1);
  CHECK(ConstantSchedule{2, 4}.lr(kFar) == 2);
  const CosineWave wave{1, 0.5, 10};
  CHECK(wave.lr(0) == 1);
  CHECK(wave.lr(10) == Approx(0.5));
  CHECK(wave.lr(20) == Approx(1));
  const CosineRestarts restarts{1, 0.5, 4, 2};  // cycles 0..3, 4..11, 12..27
  CHECK(restarts.lr(2) == Approx(0.75));
  CHECK(restarts.lr(4) == 1);
  CHECK(restarts.lr(8) == Approx(0.75));
  CHECK(restarts.lr(12) == 1);
  CHECK(CosineRestarts{1, 0.5, 4, 1}.lr(kFar - 3) == 1);
  CHECK(std::isfinite(CosineRestarts{1, 0.5, 4, kFar}.lr(kFar)));
  CHECK(StepDecay{8, 0.5, 3}.lr(2) == 8);
  CHECK(StepDecay{8, 0.5, 3}.lr(6) == 2);
  CHECK(MilestoneDecay{8, 0.5, {5, 2, 5}}.lr(4) == 4);
  CHECK(MilestoneDecay{8, 0.5, {5, 2, 5}}.lr(5) == 1);
  CHECK(ExponentialDecay{8, 0.5}.lr(3) == 1);
  CHECK(LinearSchedule{8, 0.5, 1, 4}.lr(2) == 6);
  CHECK(LinearSchedule{8, 0.5, 1, 4}.lr(kFar) == 8);
  CHECK(PolynomialDecay{8, 2, 4}.lr(2) == 2);
  CHECK(PolynomialDecay{8, 2, 4}.lr(5) == 0);
  CHECK(PolynomialDecay{8, 2, 0}.lr(0) == 0);
}

TEST_CASE("one cycle: up, down, and the momentum the other way round") {
  const OneCycle two{.peak = 1, .total = 11, .rise = 6.0 / 11, .start_ratio = 4, .end_ratio = 5, .linear = true};
  CHECK(two.lr(0) == Approx(0.25));
  CHECK(two.lr(5) == Approx(1));
  CHECK(two.lr(10) == Approx(0.05));
  CHECK(two.lr(99) == Approx(0.05));
  CHECK(two.lr(2) == Approx(0.25 + 0.75 * 2 / 5));
  CHECK(two.momentum(0) == Approx(0.95));
  CHECK(two.momentum(5) == Approx(0.85));
  CHECK(two.momentum(10) == Approx(0.95));
  OneCycle three = two;
  three.rise = 4.0 / 11, three.three_phases = true, three.linear = false;
  CHECK(three.lr(3) == Approx(1));
  CHECK(three.lr(6) == Approx(0.25));
  CHECK(three.lr(8) == Approx(0.15));
  CHECK(three.lr(10) == Approx(0.05));
  CHECK(three.momentum(3) == Approx(0.85));
  CHECK(three.momentum(8) == Approx(0.95));
}
