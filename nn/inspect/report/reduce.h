// A series of any length as about as many points as a screen can show.
#pragma once
#include "nn/inspect/figures.h"

namespace moegrad::report {

/// What is drawn of a series, in order of x. Where y is kNoValue the line breaks. `low` and `high`, where there are any,
/// hold every value that a point stands for, so that no extreme is lost.
struct Line {
  std::vector<double> x, y, low, high;
  i64 values = 0;      ///< finite ones of the series
  double mean_of = 1;  ///< values that a point stands for, on average
};

/// Series with more than 2 * `buckets` values become the means, and the smallest and largest, of what lies in each of
/// `buckets` equal parts of the axis. With `positive` (a logarithmic axis) values that are not count as none.
Line reduce(const Series& series, i64 buckets, bool positive = false);

}  // namespace moegrad::report
