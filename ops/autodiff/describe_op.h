// One op of a graph in words, for diagnostics.
#pragma once
#include <span>
#include <string>

#include "core/autograd.h"

namespace moegrad {

/// "softmax(f64 [2, 3]; axis = 1)"; "none" stands for an empty handle.
std::string describe_op(const char* name, const std::string& attributes, std::span<const Tensor> inputs);
/// The same of a node in a graph, also of a released one.
std::string describe_op(const Node& node);

}  // namespace moegrad
