// A file of reference numbers: its tensors, its texts, and the cases in it. tests/golden/data/README.md has the format.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moegrad::golden {

using Json = nlohmann::json;

/// A file or a case that says something unknown or contradicts itself. Not a moegrad::Error: a call that must be
/// refused is refused by an op, not by the runner.
struct CaseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The tensors and texts of one file. It remembers what was read: a number that nothing compares is a failure.
class Bundle {
 public:
  /// Throws IoError: not a safetensors file.  CaseError: its metadata is not that of the format.
  explicit Bundle(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  /// A text of the metadata, empty where there is none, and the JSON in it.
  std::string text(const std::string& key) const;
  Json json(const std::string& key, const Json& otherwise) const;

  /// The type of the whole computation, and how far a result may be off, as max|a-b| / (1 + max|b|).
  DType dtype() const { return dtype_; }
  double tolerance() const { return dtype_ == DType::f64 ? 1e-9 : 1e-4; }

  bool has(const std::string& tensor) const { return tensors_.count(tensor) > 0; }
  /// A tensor of its own that shares the values. Throws CaseError: there is none of that name.
  Tensor take(const std::string& tensor);
  /// Its shape alone. Throws CaseError, too.
  Shape shape(const std::string& tensor) const;
  /// Tensors whose names begin so; and those of them that were never taken.
  std::vector<std::string> names(const std::string& prefix) const;
  std::vector<std::string> untaken(const std::string& prefix) const;

 private:
  std::string name_;
  DType dtype_ = DType::f64;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Tensor> tensors_;
  std::set<std::string> taken_;
};

/// One line of the report: a call and its reference numbers.
struct Case {
  std::string name, op;
  Json args;   ///< of the call
  Json entry;  ///< all that the file says about it
};

/// The cases of a bundle. Throws CaseError: an entry has no name or no op, or a name is there twice.
std::vector<Case> cases_of(const Bundle& bundle);

}  // namespace moegrad::golden
