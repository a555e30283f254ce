// A picture of a graph.
#pragma once
#include <string>

#include "core/tensor.h"

namespace moegrad {

struct DotOptions {
  i64 most = 500;          ///< nodes shown: those nearest to y. A note says how many are left out
  bool attributes = true;  ///< under the names of ops
  bool shapes = true;      ///< dtype and shape of every output, on the arrows
};

/// The graph behind y in the language of Graphviz: dot -Tsvg. One box per op, one ellipse per leaf with its name (see
/// set_name), arrows in the direction of the forward pass. The text depends on the graph alone, not on addresses or on
/// what else was recorded before; backward and release change nothing in it. Synchronises nothing: no value is read.
///   Errors  GradError: y is in no graph.  Error: options.most < 1
std::string to_dot(const Tensor& y, const DotOptions& options = {});

}  // namespace moegrad
