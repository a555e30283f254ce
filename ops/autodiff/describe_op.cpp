#include "ops/autodiff/describe_op.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace moegrad {
namespace {

std::string call(const char* name, const std::string& attributes, const std::vector<std::string>& operands) {
  return fmt::format("{}({}{}{})", name, fmt::join(operands, ", "), attributes.empty() ? "" : "; ", attributes);
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
    operands.push_back(node.inputs[i].given
                           ? fmt::format("{} {}", name(node.inputs[i].dtype), to_string(node.inputs[i].shape))
                           : "none");
  return call(node.name, node.attributes(), operands);
}

}  // namespace moegrad
