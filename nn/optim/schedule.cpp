#include "nn/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moegrad {
namespace {

double ratio(i64 a, i64 b) { return static_cast<double>(a) / static_cast<double>(b); }

// Half a cosine: `from` at share 0, `to` at share 1.
double half_cosine(double from, double to, double share) {
  return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * share));
}

// The share of `steps` that is done; a schedule of no steps is done at once.
double done(i64 step, i64 steps) { return steps <= 0 ? 1 : ratio(std::clamp<i64>(step, 0, steps), steps); }

}  // namespace

double ConstantSchedule::lr(i64 step) const { return step < warmup ? rate * ratio(step + 1, warmup) : rate; }

double CosineSchedule::lr(i64 step) const {
  if (step < warmup) return peak * ratio(step + 1, warmup);
  if (step >= total) return floor;
  return half_cosine(peak, floor, ratio(step - warmup, total - warmup));
}

double CosineWave::lr(i64 step) const {
  return half_cosine(peak, floor, half_period <= 0 ? 1 : ratio(step, half_period));
}

double CosineRestarts::lr(i64 step) const {
  const i64 cycle = std::max<i64>(first, 1);
  if (growth <= 1) return half_cosine(peak, floor, ratio(step % cycle, cycle));
  double length = static_cast<double>(cycle), at = static_cast<double>(step);  // no overflow after many cycles
  for (; at >= length; length *= static_cast<double>(growth)) at -= length;
  return half_cosine(peak, floor, at / length);
}

double StepDecay::lr(i64 step) const {
  return rate * std::pow(factor, static_cast<double>(step / std::max<i64>(every, 1)));
}

double MilestoneDecay::lr(i64 step) const {
  const auto passed = std::count_if(milestones.begin(), milestones.end(), [&](i64 m) { return m <= step; });
  return rate * std::pow(factor, static_cast<double>(passed));
}

double ExponentialDecay::lr(i64 step) const { return rate * std::pow(factor, static_cast<double>(step)); }

double LinearSchedule::lr(i64 step) const { return rate * (from + (to - from) * done(step, steps)); }

double PolynomialDecay::lr(i64 step) const { return rate * std::pow(1 - done(step, steps), power); }

namespace {

// The phases of one cycle: a value at each corner, and the (fractional) step of the corner.
struct Corner {
  double step, value;
};

double along(const std::vector<Corner>& corners, double step, bool linear) {
  std::size_t i = 1;
  while (i + 1 < corners.size() && step > corners[i].step) ++i;
  const Corner &a = corners[i - 1], &b = corners[i];
  const double length = b.step - a.step, share = length > 0 ? std::clamp((step - a.step) / length, 0.0, 1.0) : 1;
  return linear ? a.value + (b.value - a.value) * share : half_cosine(a.value, b.value, share);
}

std::vector<Corner> corners(const OneCycle& c, double start, double top, double back, double end) {
  const double last = static_cast<double>(c.total - 1), up = c.rise * static_cast<double>(c.total) - 1;
  if (c.three_phases) return {{0, start}, {up, top}, {2 * up, back}, {last, end}};
  return {{0, start}, {up, top}, {last, end}};
}

}  // namespace

double OneCycle::lr(i64 step) const {
  const double start = peak / start_ratio;
  return along(corners(*this, start, peak, start, start / end_ratio), static_cast<double>(step), linear);
}

double OneCycle::momentum(i64 step) const {
  return along(corners(*this, calm, fast, calm, calm), static_cast<double>(step), linear);
}

}  // namespace moegrad
