// Where numbers lie on an axis, which of them get a tick, and how they are written.
#pragma once
#include <string>
#include <vector>

namespace moegrad::report {

/// A number for a reader: up to `digits` digits, with k, M, G or T from 10,000 on, and a power of ten below 0.0001 and
/// from 1e15 on. "12.35k", "0.0123", "1.5e-9" (with a true minus sign), "" for no value.
std::string number(double value, int digits = 4);

/// An axis from `low` to `high`, which differ. Positions are in [0, 1] for values between them.
struct Axis {
  double low = 0, high = 1;
  bool log = false;
  std::vector<double> ticks = {};
  std::vector<std::string> labels = {};  ///< of the ticks, all with the same digits and unit

  double at(double value) const;
};

/// About `count` multiples of 1, 2 or 5 times a power of ten within [low, high]; with `whole`, of whole numbers.
std::vector<double> round_ticks(double low, double high, int count, bool whole = false);

/// The labels of ticks that lie `step` apart: as many digits as tell them apart.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

/// An axis from low to high, for steps and positions; an end that is almost round, or 0, becomes so. One value alone gets room on both sides.
/// With `whole`, between whole numbers there are no ticks.
Axis position_axis(double low, double high, bool whole = false);

/// An axis that holds [low, high] and ends at round numbers; from 0 where the values come near it. With `log`, low must
/// be positive, and the ticks are powers of ten, or 1, 2, 5 of each where these are few.
Axis value_axis(double low, double high, bool log = false);

}  // namespace moegrad::report
