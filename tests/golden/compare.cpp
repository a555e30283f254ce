#include "tests/golden/compare.h"

#include <fmt/format.h>

#include <cmath>

namespace moegrad::golden {

void Comparison::fail(const std::string& why) {
  if (failures_++ == 0) reason_ = why;
}

std::string Comparison::reason() const {
  return failures_ > 1 ? fmt::format("{} (and {} more)", reason_, failures_ - 1) : reason_;
}

void Comparison::check(const std::string& what, const Tensor& got, const Tensor& want) {
  ++tensors_;
  if (!got) return fail(fmt::format("{}: there is no such tensor; expected {}", what, describe(want)));
  if (got.shape() != want.shape())
    return fail(fmt::format("{}: shape {}, expected {}", what, to_string(got.shape()), to_string(want.shape())));
  if (is_float(got.dtype()) != is_float(want.dtype()) || (is_float(want.dtype()) && got.dtype() != want.dtype()))
    return fail(fmt::format("{}: dtype {}, expected {}", what, name(got.dtype()), name(want.dtype())));
  const std::string why = is_float(want.dtype()) ? of_values(what, got, want) : of_integers(what, got, want);
  if (why.empty()) return;
  for (const std::string& begin : may_differ_)
    if (what.starts_with(begin)) return void(differed_.insert(what));
  fail(why);
}

std::string Comparison::of_values(const std::string& what, const Tensor& got, const Tensor& want) {
  const auto a = got.to_vector<double>(), b = want.to_vector<double>();
  double apart = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    if (!std::isfinite(b[i]) || !std::isfinite(a[i])) {
      if (!same) return fmt::format("{}: element {} is {}, expected {}", what, i, a[i], b[i]);
      continue;
    }
    apart = std::max(apart, std::abs(a[i] - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  const double e = apart / (1 + size);
  const double tolerance = tolerance_of(what);
  worst_ = std::max(worst_, e);
  return e <= tolerance ? "" : fmt::format("{}: e = {:.1e}, above {:.0e}", what, e, tolerance);
}

std::string Comparison::of_integers(const std::string& what, const Tensor& got, const Tensor& want) {
  const auto a = got.to_vector<i64>(), b = want.to_vector<i64>();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return fmt::format("{}: element {} is {}, expected {}", what, i, a[i], b[i]);
  return {};
}

}  // namespace moegrad::golden
