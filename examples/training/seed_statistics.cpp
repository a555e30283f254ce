#include "examples/training/seed_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "core/errors.h"

namespace examples {

using moegrad::Error;

double mean_of(std::span<const double> values) {
  if (values.empty()) throw Error("mean: needs a value; got none");
  return std::reduce(values.begin(), values.end()) / static_cast<double>(values.size());
}

double deviation_of(std::span<const double> values) {
  if (values.size() < 2) throw Error(fmt::format("deviation: needs two values; got {}", values.size()));
  const double mean = mean_of(values);
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

namespace {

void check_degrees(i64 degrees) {
  if (degrees < 1) throw Error(fmt::format("student: degrees of freedom must be at least 1; got {}", degrees));
}

// P(|T| < t), with the angle a whose tangent is t / sqrt(degrees). The terms of the sum, for odd degrees
// cos a, 2/3 cos^3 a, 2 4 / (3 5) cos^5 a, ..  and for even ones 1, 1/2 cos^2 a, 1 3 / (2 4) cos^4 a, ..
double within(double t, i64 degrees) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const bool odd = degrees % 2 == 1;
  double sum = 0, term = odd ? cosine : 1;
  for (i64 power = odd ? 1 : 0; power <= degrees - 2; power += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(power + 1) / static_cast<double>(power + 2);
  }
  return odd ? 2 / std::numbers::pi * (angle + sine * sum) : sine * sum;
}

}  // namespace

double student_p(double t, i64 degrees) {
  check_degrees(degrees);
  return std::clamp(1 - within(std::abs(t), degrees), 0.0, 1.0);
}

double student_t(double p, i64 degrees) {
  check_degrees(degrees);
  if (!(p > 0 && p < 1)) throw Error(fmt::format("student: p must be in (0, 1); got {}", p));
  double low = 0, high = 1;
  while (student_p(high, degrees) > p && high < 1e300) high *= 2;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (student_p(middle, degrees) > p ? low : high) = middle;
  }
  return high;
}

PairedDifference paired_difference(std::span<const double> a, std::span<const double> b, double level) {
  if (a.size() != b.size() || a.size() < 2)
    throw Error(fmt::format("paired difference: needs two lists of one length, at least 2; got {} and {} values",
                            a.size(), b.size()));
  std::vector<double> d(a.size());
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = a[i] - b[i];
  PairedDifference result{.pairs = static_cast<i64>(d.size()), .mean = mean_of(d), .deviation = deviation_of(d)};
  if (!std::isfinite(result.deviation)) throw Error("paired difference: values must be finite; got one that is not");
  const double error = result.deviation / std::sqrt(static_cast<double>(d.size()));
  const double reach = student_t(1 - level, result.pairs - 1) * error;
  result.low = result.mean - reach;
  result.high = result.mean + reach;
  if (error > 0)
    result.p = student_p(result.mean / error, result.pairs - 1);
  else
    result.p = result.mean == 0 ? 1 : 0;
  return result;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return p[i] < p[j]; });
  std::vector<double> corrected(p.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const double times = static_cast<double>(p.size() - rank);
    largest = std::max(largest, std::min(1.0, times * p[order[rank]]));
    corrected[order[rank]] = largest;
  }
  return corrected;
}

}  // namespace examples
