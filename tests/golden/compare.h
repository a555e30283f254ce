// Results against reference numbers.
#pragma once
#include <string>

#include "core/tensor.h"

namespace moegrad::golden {

/// Collects the differences of one case.
///   Floats     e = max|a - b| / (1 + max|b|) over the finite elements of a tensor must not exceed the tolerance;
///              infinities and NaN must be in the same places, and the dtypes must be alike
///   Integers, bools and U8 must be equal
///   Shapes     must be equal
class Comparison {
 public:
  explicit Comparison(double tolerance) : tolerance_(tolerance) {}
  void check(const std::string& what, const Tensor& got, const Tensor& want);
  void fail(const std::string& why);

  bool passed() const { return reason_.empty(); }
  /// The largest e so far; 0 for equal integers.
  double worst() const { return worst_; }
  int tensors() const { return tensors_; }
  /// Why it failed: the first difference, and how many there are.
  std::string reason() const;

 private:
  void check_values(const std::string& what, const Tensor& got, const Tensor& want);
  void check_equal(const std::string& what, const Tensor& got, const Tensor& want);
  double tolerance_, worst_ = 0;
  int tensors_ = 0, failures_ = 0;
  std::string reason_;
};

}  // namespace moegrad::golden
