#include "ops/autodiff/to_dot.h"

#include <fmt/format.h>

#include "ops/autodiff/graph_picture.h"

namespace moegrad {
namespace {

// Text within a quoted string of the dot language.
std::string escaped(const std::string& text) {
  std::string y;
  for (const char c : text) {
    if (c == '\n') {
      y += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') y += '\\';
    y += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return y;
}

const char* shape_of(GraphPicture::Kind kind) {
  switch (kind) {
    case GraphPicture::Kind::leaf: return "ellipse";
    case GraphPicture::Kind::more: return "note";
    case GraphPicture::Kind::result: return "plaintext";
    case GraphPicture::Kind::op: break;
  }
  return "";  // the box that all nodes have if nothing is said
}

std::string box_line(const GraphPicture::Box& box) {
  const std::string shape = shape_of(box.kind);
  const std::string text = box.text.empty() ? std::string{} : fmt::format("label=\"{}\"", escaped(box.text));
  return fmt::format("  {} [{}{}{}{}];\n", box.id, shape.empty() ? "" : "shape=", shape,
                     shape.empty() || text.empty() ? "" : ", ", text);
}

}  // namespace

std::string to_dot(const Tensor& y, const DotOptions& options) {
  const GraphPicture picture = graph_picture("to_dot", y, options);
  std::string text = "digraph moegrad {\n  rankdir=TB;\n  node [shape=box];\n";
  for (const GraphPicture::Box& box : picture.boxes) text += box_line(box);
  for (const GraphPicture::Arrow& a : picture.arrows)
    text += fmt::format("  {} -> {}{};\n", picture.boxes[static_cast<std::size_t>(a.from)].id,
                        picture.boxes[static_cast<std::size_t>(a.to)].id,
                        a.text.empty() ? "" : fmt::format(" [label=\"{}\"]", a.text));
  return text + "}\n";
}

}  // namespace moegrad
