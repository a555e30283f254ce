// Layers hold named tensors and call ops. A layer lists what it holds in one function, `members`; everything that is
// said about a model (its state dictionary, its parameters, a summary) is read from that list.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

class Module;

/// A tensor and its name. Names are dotted paths as in PyTorch: "blocks.0.norm1.weight".
struct NamedTensor {
  std::string name;
  Tensor tensor;
};
using StateDict = std::vector<NamedTensor>;

/// Weights of alike layers that are stored as one tensor, the layer's number first: [E, ..].
struct Stack {
  i64 active = -1;          ///< layers that one token uses, for the count of active parameters; -1: all
  bool transposed = false;  ///< a weight stored as [in, out] but shown as PyTorch's [out, in]
};

/// One tensor of a module.
struct Member {
  std::string name;  ///< with "{}" in place of the number of a stacked layer
  Tensor* tensor;    ///< the module's own handle
  bool trained;      ///< a parameter; otherwise a buffer, which is saved but not trained
  bool stacked;      ///< shown in the state dictionary as one tensor per position of its first axis
  Stack stack;
  /// Rank of the layer's own weight: 1 for a bias or a scale, 2 for a matrix.
  int rank() const { return tensor->rank() - (stacked ? 1 : 0); }
  /// Elements that one token uses.
  i64 active() const;
};

/// The list that `Module::members` fills. Empty handles (no bias) are left out.
class Members {
 public:
  void parameter(std::string_view name, Tensor& tensor) { add(name, tensor, true, false, {}); }
  /// m.stack("experts.{}.w1.weight", w1): the state dictionary has experts.0.w1.weight, experts.1.w1.weight, ..
  void stack(std::string_view pattern, Tensor& tensor, Stack options = {}) {
    add(pattern, tensor, true, true, options);
  }
  void buffer(std::string_view name, Tensor& tensor) { add(name, tensor, false, false, {}); }
  /// A module within; its names follow `name` and a dot. An empty name adds nothing to them.
  void child(std::string_view name, Module& module);
  template <class L> void children(std::string_view name, std::vector<std::unique_ptr<L>>& list) {
    for (std::size_t i = 0; i < list.size(); ++i) child(std::string(name) + "." + std::to_string(i), *list[i]);
  }

 private:
  friend class Module;
  void add(std::string_view name, Tensor& tensor, bool trained, bool stacked, Stack options);
  std::string prefix_;
  std::vector<Member> found_;
};

/// The base of layers and models. What a forward pass needs besides tensors comes in a Context (nn/context.h), and
/// nothing of it stays on the module: `forward` is const. Its arguments are each layer's own.
class Module {
 public:
  virtual ~Module() = default;
  /// Names every tensor and every module that this one holds: m.parameter("weight", weight); m.child("norm", norm);
  virtual void members(Members& m) = 0;

  /// Everything that `members` names, here and below, in that order.
  std::vector<Member> all_members();
  /// Parameters that require a gradient, each once; also labels them, so that error texts can name them.
  std::vector<Member> named_parameters();
  /// Their handles.
  std::vector<Tensor> parameters();
  void zero_grad();

  /// (name, view of the values) of all parameters and buffers: no copies, no graph. A stack gives one view per layer;
  /// stacks of the same layers, named one after the other, give layer after layer.
  StateDict state_dict();
  /// Copies values into the module, from any device, or none at all.
  ///   Errors  Error, one for all: names that are missing, twice, or not the module's; other shapes or dtypes
  void load_state_dict(const StateDict& values);

  /// Parameters and floating buffers as `dtype`. Make the optimizer afterwards.
  void to(DType dtype);
  /// Parameters and buffers on another device. Make the optimizer afterwards.
  ///   Errors  DeviceError: there is no such device
  void to(Device device);
  /// Elements of all parameters, shared ones once; and how many of them one token uses (top-k of E experts).
  i64 parameter_count();
  i64 active_parameter_count();
  /// A table of names, shapes and counts, with the totals.
  std::string summary();

 private:
  void replace(const std::function<bool(const Tensor&)>& wanted, const std::function<Tensor(const Tensor&)>& convert);
};

/// A module from a tensor to a tensor.
struct Context;
struct Layer : Module {
  virtual Tensor forward(const Tensor& x, Context& context) const = 0;
};

/// Copies the values of `from`, from any device, into the tensors of `to` by name, or none at all; the error is that of load_state_dict,
/// with `who` as its first word.
void copy_state(const char* who, const StateDict& to, const StateDict& from);

/// 1234567 -> "1,234,567"
std::string with_commas(i64 n);

}  // namespace moegrad
