#include "ops/autodiff/to_dot.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <vector>

#include "core/autograd.h"

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

struct Graph {
  std::vector<const Node*> nodes;               // oldest first, those that are shown
  std::unordered_map<const Node*, i64> number;  // of each in `nodes`
  i64 left_out = 0;
};

Graph graph_behind(const Node* root, i64 most) {
  std::vector<const Node*> found{root};
  std::set<const Node*> seen{root};
  for (std::size_t at = 0; at < found.size(); ++at)
    for (int i = 0; i < found[at]->inputs.size(); ++i)
      if (const Node* source = found[at]->inputs[i].node.get(); source && seen.insert(source).second)
        found.push_back(source);
  const auto shown = std::min(static_cast<i64>(found.size()), most);
  Graph g{.nodes = {found.begin(), found.begin() + shown}, .left_out = static_cast<i64>(found.size()) - shown};
  std::sort(g.nodes.begin(), g.nodes.end(), [](const Node* a, const Node* b) { return a->serial < b->serial; });
  for (const Node* n : g.nodes) g.number.emplace(n, static_cast<i64>(g.number.size()));
  return g;
}

std::string node_line(const Node& n, i64 number, const DotOptions& options) {
  if (n.is_leaf()) {
    const std::string& label = static_cast<const Leaf&>(n).label;
    return fmt::format("  n{} [shape=ellipse, label=\"{}\"];\n", number, label.empty() ? "leaf" : escaped(label));
  }
  const std::string attributes = options.attributes ? n.attributes() : std::string{};
  return fmt::format("  n{} [label=\"{}{}{}\"];\n", number, escaped(n.name), attributes.empty() ? "" : "\\n",
                     escaped(attributes));
}

std::string edge_lines(const Node& n, const Graph& g, const DotOptions& options) {
  std::string text;
  for (int i = 0; i < n.inputs.size(); ++i) {
    const Node::Input& input = n.inputs[i];
    if (!input.node) continue;
    const auto from = g.number.find(input.node.get());
    std::string label =
        options.shapes ? fmt::format("{} {}", name(input.dtype), to_string(input.shape)) : std::string{};
    if (input.node->outputs > 1) label = fmt::format("output {}{}{}", input.output, label.empty() ? "" : ": ", label);
    text += fmt::format("  {} -> n{}{};\n", from == g.number.end() ? "more" : fmt::format("n{}", from->second),
                        g.number.at(&n), label.empty() ? "" : fmt::format(" [label=\"{}\"]", label));
  }
  return text;
}

}  // namespace

std::string to_dot(const Tensor& y_any, const DotOptions& options) {
  if (options.most < 1) throw Error(fmt::format("to_dot: most must be at least 1; got {}", options.most));
  if (!y_any.requires_grad())
    throw GradError(
        fmt::format("to_dot: y must depend on a tensor that requires a gradient; got y {}", describe(y_any)));
  const Tensor y = dense(y_any);
  const Graph g = graph_behind(y.body().node.get(), options.most);
  std::string text = "digraph moegrad {\n  rankdir=TB;\n  node [shape=box];\n";
  for (const Node* n : g.nodes) text += node_line(*n, g.number.at(n), options);
  if (g.left_out > 0) text += fmt::format("  more [shape=note, label=\"{} more nodes\"];\n", g.left_out);
  text += "  y [shape=plaintext];\n";
  for (const Node* n : g.nodes) text += edge_lines(*n, g, options);
  const std::string label = options.shapes ? fmt::format(" [label=\"{}\"]", describe(y)) : std::string{};
  return text + fmt::format("  n{} -> y{};\n}}\n", g.number.at(y.body().node.get()), label);
}

}  // namespace moegrad
