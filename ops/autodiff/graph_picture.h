// What a picture of a graph shows, before it is drawn: to_dot writes it for Graphviz, nn/inspect/graph_svg.h as SVG.
#pragma once
#include <string>
#include <vector>

#include "ops/autodiff/to_dot.h"

namespace moegrad {

struct GraphPicture {
  enum class Kind { op, leaf, more, result };
  struct Box {
    Kind kind{};
    std::string id;    ///< n0, n1, .. by age; "more" for what is left out; "y"
    std::string text;  ///< lines; none for the result
  };
  struct Arrow {
    i64 from = 0, to = 0;  ///< places in `boxes`
    std::string text;
  };
  std::vector<Box> boxes;
  std::vector<Arrow> arrows;  ///< in the direction of the forward pass
};

/// The graph behind y.
///   Errors  those of to_dot, by the name of `who`
GraphPicture graph_picture(const char* who, const Tensor& y, const DotOptions& options);

}  // namespace moegrad
