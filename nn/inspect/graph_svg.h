// A drawing of a graph that needs no other program.
#pragma once
#include <string>

#include "nn/inspect/figures.h"
#include "ops/autodiff/to_dot.h"

namespace moegrad {

/// The graph behind y as one <svg> element: what to_dot shows, drawn here (nn/inspect/layered_layout.h). Ops are boxes,
/// leaves round ones, y is below; the arrows have the direction of the forward pass and carry shapes. Colours are those
/// of the text around it (currentColor), so it is legible on light and dark pages; classes begin with "graph-".
/// Texts longer than 40 characters are cut, and shown whole when the pointer rests on them.
///   Structure  one <g data-node="n3"> per box, one <g data-from="n1" data-to="n3"> per arrow, ids as in to_dot
///   Errors     as to_dot, of graph_svg
std::string graph_svg(const Tensor& y, const DotOptions& options = {});

/// The same as a figure of a report.
Drawing graph_drawing(const std::string& title, const Tensor& y, const DotOptions& options = {});

}  // namespace moegrad
