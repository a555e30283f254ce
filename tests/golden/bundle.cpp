#include "tests/golden/bundle.h"

#include <fmt/format.h>

#include "nn/safetensors.h"

namespace moegrad::golden {

Bundle::Bundle(const std::filesystem::path& path) : name_(path.stem().string()) {
  TensorFile file = load_safetensors(path.string());
  metadata_ = std::move(file.metadata);
  for (NamedTensor& t : file.tensors) tensors_[t.name] = t.tensor;
  const std::string type = text("dtype");
  if (type != "float64" && type != "float32")
    throw CaseError(fmt::format("the metadata's dtype must be float64 or float32; got '{}'", type));
  dtype_ = type == "float64" ? DType::f64 : DType::f32;
}

std::string Bundle::text(const std::string& key) const {
  const auto at = metadata_.find(key);
  return at == metadata_.end() ? std::string() : at->second;
}

Json Bundle::json(const std::string& key, const Json& otherwise) const {
  const std::string value = text(key);
  if (value.empty()) return otherwise;
  try {
    return Json::parse(value);
  } catch (const Json::exception& e) {
    throw CaseError(fmt::format("the metadata's '{}' is not JSON: {}", key, e.what()));
  }
}

Tensor Bundle::take(const std::string& tensor) {
  const auto at = tensors_.find(tensor);
  if (at == tensors_.end()) throw CaseError(fmt::format("the file has no tensor '{}'", tensor));
  taken_.insert(tensor);
  return at->second.to(default_device()).detach();  // they were read to the CPU
}

Shape Bundle::shape(const std::string& tensor) const {
  const auto at = tensors_.find(tensor);
  if (at == tensors_.end()) throw CaseError(fmt::format("the file has no tensor '{}'", tensor));
  return at->second.shape();
}

std::vector<std::string> Bundle::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (auto at = tensors_.lower_bound(prefix); at != tensors_.end() && at->first.starts_with(prefix); ++at)
    found.push_back(at->first);
  return found;
}

std::vector<std::string> Bundle::untaken(const std::string& prefix) const {
  std::vector<std::string> left = names(prefix);
  std::erase_if(left, [&](const std::string& n) { return taken_.count(n) > 0; });
  return left;
}

std::vector<Case> cases_of(const Bundle& bundle) {
  const Json list = bundle.json("cases", Json::array());
  if (!list.is_array()) throw CaseError("the metadata's 'cases' must be a list");
  std::vector<Case> cases;
  std::set<std::string> names;
  for (const Json& entry : list) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("op") || !entry["name"].is_string() ||
        !entry["op"].is_string())
      throw CaseError(fmt::format("a case must have a name and an op; got {}", entry.dump()));
    Case c{entry["name"], entry["op"], entry.value("args", Json::object()), entry};
    if (!names.insert(c.name).second) throw CaseError(fmt::format("the case '{}' is there twice", c.name));
    cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace moegrad::golden
