// The arguments and inputs of a case, as its adapter reads them. What it does not read is an error: an argument that is
// ignored would pass for one that works.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/golden/bundle.h"

namespace moegrad::golden {

/// Values by name. Functions with a second argument give that where the argument is absent or null; the others throw
/// CaseError. All throw CaseError for a value of another kind.
class Arguments {
 public:
  /// `dtype` is what "finfo.max" and its like refer to.
  Arguments(Json values, DType dtype) : values_(std::move(values)), dtype_(dtype) {}

  /// Is it given, and not null? A null that was asked for counts as read.
  bool has(const std::string& key);
  /// A number, or one of the words inf, nan, finfo.max, finfo.min, finfo.eps, finfo.tiny with or without a sign.
  double number(const std::string& key);
  double number(const std::string& key, double otherwise);
  i64 integer(const std::string& key);
  i64 integer(const std::string& key, i64 otherwise);
  bool flag(const std::string& key, bool otherwise);
  std::string text(const std::string& key);
  std::string text(const std::string& key, const std::string& otherwise);
  /// An integer or a list of them.
  std::vector<i64> integers(const std::string& key);
  std::vector<i64> integers(const std::string& key, const std::vector<i64>& otherwise);
  /// integer and integers for axes and sizes.
  int axis(const std::string& key = "dim");
  int axis(const std::string& key, int otherwise);
  std::optional<Axes> axes(const std::string& key = "dim");  ///< nothing: null, absent or an empty list
  Shape shape(const std::string& key);
  std::vector<Shape> shapes(const std::string& key);
  /// Numbers that come in twos, such as kernel sizes: one number stands for both.
  std::pair<i64, i64> pair(const std::string& key, std::pair<i64, i64> otherwise);
  /// {name: integer}, for patterns.
  std::vector<std::pair<std::string, i64>> sizes(const std::string& key);
  std::vector<double> numbers(const std::string& key);
  /// Arguments within: {"forward": {"k": 2}}. None of them where it is absent or null; ask it by itself whether all were
  /// read.
  Arguments within(const std::string& key);
  /// Is it a list? Reads nothing.
  bool is_list(const std::string& key) const;

  /// Throws CaseError naming the arguments that were not read.
  void check_all_read() const;

 private:
  const Json& at(const std::string& key);
  template <class T, class Read> T read_or(const std::string& key, T otherwise, Read read);
  Json values_;
  DType dtype_;
  std::set<std::string> read_;
};

/// The tensors x[0], x[1], .. of a case.
class Inputs {
 public:
  explicit Inputs(std::vector<Tensor> tensors) : tensors_(std::move(tensors)) {}
  int count() const { return static_cast<int>(tensors_.size()); }
  /// Throws CaseError: there is none.
  const Tensor& operator[](int i);
  /// The same, but an empty handle where there is none: optional weights and biases.
  Tensor maybe(int i);
  const std::vector<Tensor>& all();
  /// Throws CaseError naming the inputs that were not read.
  void check_all_read() const;

 private:
  std::vector<Tensor> tensors_;
  std::set<int> read_;
};

}  // namespace moegrad::golden
