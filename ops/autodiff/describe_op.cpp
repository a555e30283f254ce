#include "ops/autodiff/describe_op.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <vector>

namespace moegrad {
namespace {

std::string call(const char* name, const std::string& attributes, const std::vector<std::string>& operands) {
  return fmt::format("{}({}{}{})", name, fmt::join(operands, ", "), attributes.empty() ? "" : "; ", attributes);
}

std::string numbered_input(std::size_t i, const Node* source) {
  while (source && std::string_view(source->name) == "alias") source = source->inputs[0].node.get();
  const std::string label = source && source->is_leaf() ? static_cast<const Leaf*>(source)->label : std::string{};
  return label.empty() ? fmt::format("input {}", i) : fmt::format("input {} (parameter '{}')", i, label);
}

}  // namespace

std::string describe_op(const char* op, const std::string& attributes, std::span<const Tensor> inputs) {
  std::vector<std::string> operands;
  for (const Tensor& x : inputs) operands.push_back(x ? describe(x) : "none");
  return call(op, attributes, operands);
}

std::string describe_op(const Node& node) {
  std::vector<std::string> operands;
  for (int i = 0; i < node.inputs.size(); ++i)
    operands.push_back(fmt::format("{} {}", name(node.inputs[i].dtype), to_string(node.inputs[i].shape)));
  return call(node.name, node.attributes(), operands);
}

std::string describe_input(const Tensor& x, std::size_t i) {
  return numbered_input(i, x ? x.body().node.get() : nullptr);
}
std::string describe_input(const Node& node, int i) {
  return numbered_input(static_cast<std::size_t>(i), node.inputs[i].node.get());
}

}  // namespace moegrad
