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
  if (is_float(want.dtype()))
    check_values(what, got, want);
  else
    check_equal(what, got, want);
}

void Comparison::check_values(const std::string& what, const Tensor& got, const Tensor& want) {
  const auto a = got.to_vector<double>(), b = want.to_vector<double>();
  double apart = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    if (!std::isfinite(b[i]) || !std::isfinite(a[i])) {
      if (!same) return fail(fmt::format("{}: element {} is {}, expected {}", what, i, a[i], b[i]));
      continue;
    }
    apart = std::max(apart, std::abs(a[i] - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  const double e = apart / (1 + size);
  const double tolerance = tolerance_of(what);
  worst_ = std::max(worst_, e);
  if (!(e <= tolerance)) fail(fmt::format("{}: e = {:.1e}, above {:.0e}", what, e, tolerance));
}

void Comparison::check_equal(const std::string& what, const Tensor& got, const Tensor& want) {
  const auto a = got.to_vector<i64>(), b = want.to_vector<i64>();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return fail(fmt::format("{}: element {} is {}, expected {}", what, i, a[i], b[i]));
}

}  // namespace moegrad::golden
