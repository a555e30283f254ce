#include "nn/gradcheck.h"

#include <fmt/format.h>

#include <map>

namespace moegrad {
namespace {

// The parameters of a module, each once, with all handles to it (tied weights have several).
class Parameters {
 public:
  explicit Parameters(Module& module) {
    for (const Member& m : module.named_parameters()) {
      if (m.tensor->dtype() != DType::f64)
        throw DTypeError(fmt::format("gradcheck: parameters must be f64 (module.to(DType::f64)); got {} for '{}'",
                                     moegrad::name(m.tensor->dtype()), m.name));
      names.push_back(m.name);
      values.push_back(*m.tensor);
    }
    std::map<const TensorBody*, std::size_t> number;
    for (std::size_t i = 0; i < values.size(); ++i) number[&values[i].body()] = i;
    for (const Member& m : module.all_members())
      if (const auto at = number.find(&m.tensor->body()); at != number.end())
        handles_.push_back({m.tensor, at->second});
  }
  ~Parameters() { set(values, 0); }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// Makes the module use other tensors.
  void set(const std::vector<Tensor>& tensors, std::size_t first) {
    for (const Handle& h : handles_) *h.tensor = tensors[first + h.number];
  }

  std::vector<std::string> names;
  std::vector<Tensor> values;

 private:
  struct Handle {
    Tensor* tensor;
    std::size_t number;
  };
  std::vector<Handle> handles_;
};

}  // namespace

GradReport gradcheck(Module& module, const Function& forward, const std::vector<Tensor>& xs, GradcheckOptions options) {
  Parameters parameters(module);
  std::vector<Tensor> inputs = xs;
  for (std::size_t i = options.names.size(); i < xs.size(); ++i) options.names.push_back(fmt::format("x{}", i));
  for (std::size_t i = 0; i < parameters.values.size(); ++i) {
    inputs.push_back(parameters.values[i]);
    options.names.push_back(parameters.names[i]);
  }
  return gradcheck(
      [&](const std::vector<Tensor>& in) {
        parameters.set(in, xs.size());
        return forward({in.begin(), in.begin() + static_cast<std::ptrdiff_t>(xs.size())});
      },
      inputs, options);
}

}  // namespace moegrad
