// Results against reference numbers.
#pragma once
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moegrad::golden {

/// Collects the differences of one case.
///   Floats     e = max|a - b| / (1 + max|b|) over the finite elements of a tensor must not exceed the tolerance;
///              infinities and NaN must be in the same places, and the dtypes must be alike. A name that ends in
///              "_f32" says that these numbers were computed in f32, whatever the others were: compared as f32 is
///   Integers, bools and U8 must be equal
///   Shapes     must be equal
/// Tensors whose names begin as one of `may_differ` may have other values, but no other shape or dtype.
class Comparison {
 public:
  explicit Comparison(double tolerance, std::vector<std::string> may_differ = {})
      : tolerance_(tolerance), may_differ_(std::move(may_differ)) {}
  void check(const std::string& what, const Tensor& got, const Tensor& want);
  void fail(const std::string& why);

  bool passed() const { return reason_.empty(); }
  /// Whether that tensor was compared, and differed as it may.
  bool differed(const std::string& what) const { return differed_.count(what) > 0; }
  /// The largest e so far; 0 for equal integers.
  double worst() const { return worst_; }
  int tensors() const { return tensors_; }
  /// Why it failed: the first difference, and how many there are.
  std::string reason() const;

 private:
  // How the values differ; empty where they do not.
  std::string of_values(const std::string& what, const Tensor& got, const Tensor& want);
  std::string of_integers(const std::string& what, const Tensor& got, const Tensor& want);
  double tolerance_of(const std::string& what) const {
    return what.ends_with("_f32") ? std::max(tolerance_, 1e-4) : tolerance_;
  }
  double tolerance_, worst_ = 0;
  std::vector<std::string> may_differ_;
  std::set<std::string> differed_;
  int tensors_ = 0, failures_ = 0;
  std::string reason_;
};

}  // namespace moegrad::golden
