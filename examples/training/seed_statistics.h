// What a few seeds say about a difference: paired Student tests, and Holm's correction where there are many of them.
#pragma once
#include <span>
#include <vector>

#include "core/fwd.h"

namespace examples {

using moegrad::i64;

/// Errors  Error: no values
double mean_of(std::span<const double> values);
/// Standard deviation with the variance divided by n - 1.   Errors  Error: fewer than two values
double deviation_of(std::span<const double> values);

/// P(|T| > |t|) of Student's distribution with that many degrees of freedom; 0 for an infinite t.
///   Source  Abramowitz, Stegun: Handbook of mathematical functions (1964), 26.7.3 and 26.7.4: finite sums
///   Errors  Error: degrees < 1
double student_p(double t, i64 degrees);
/// The t > 0 with student_p(t) = p, for p in (0, 1).
///   Errors  Error: degrees < 1, p outside (0, 1)
double student_t(double p, i64 degrees);

/// a - b, pair by pair: what both owe to their seed (data order, initial weights) cancels.
struct PairedDifference {
  i64 pairs = 0;
  double mean = 0, deviation = 0;
  double low = 0, high = 0;  ///< confidence interval of the mean
  double p = 1;              ///< of a mean at least as far from 0, if there were no difference
};
/// Student's paired test, two-sided, with n - 1 degrees of freedom. Differences that are all the same number have
/// p = 0, or 1 if that number is 0.
///   Errors  Error: the lists differ in length, or have fewer than two values, or one that is not finite; level outside
///           (0, 1)
PairedDifference paired_difference(std::span<const double> a, std::span<const double> b, double level = 0.95);

/// p values corrected so that the chance of even one false alarm among all is at most the level they are compared with:
/// of m values the i-th smallest, i = 1 .., becomes the largest of min(1, (m - j + 1) p_j) over j <= i.
///   Source  Holm: A simple sequentially rejective multiple test procedure (1979), Scandinavian Journal of Statistics 6
std::vector<double> holm(std::span<const double> p);

}  // namespace examples
