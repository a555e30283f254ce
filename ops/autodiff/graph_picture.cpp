#include "ops/autodiff/graph_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "core/autograd.h"

namespace moegrad {
namespace {

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

GraphPicture::Box box_of(const Node& n, i64 number, const DotOptions& options) {
  const std::string id = fmt::format("n{}", number);
  if (n.is_leaf()) {
    const std::string& label = static_cast<const Leaf&>(n).label;
    return {GraphPicture::Kind::leaf, id, label.empty() ? "leaf" : label};
  }
  const std::string attributes = options.attributes ? n.attributes() : std::string{};
  return {GraphPicture::Kind::op, id, attributes.empty() ? n.name : fmt::format("{}\n{}", n.name, attributes)};
}

void add_arrows(const Node& n, const Graph& g, const DotOptions& options, GraphPicture& picture) {
  const auto more = static_cast<i64>(g.nodes.size());  // the box behind those of nodes
  for (int i = 0; i < n.inputs.size(); ++i) {
    const Node::Input& input = n.inputs[i];
    if (!input.node) continue;
    const auto from = g.number.find(input.node.get());
    std::string text = options.shapes ? fmt::format("{} {}", name(input.dtype), to_string(input.shape)) : std::string{};
    if (input.node->outputs > 1) text = fmt::format("output {}{}{}", input.output, text.empty() ? "" : ": ", text);
    picture.arrows.push_back({from == g.number.end() ? more : from->second, g.number.at(&n), text});
  }
}

}  // namespace

GraphPicture graph_picture(const char* who, const Tensor& y_any, const DotOptions& options) {
  if (options.most < 1) throw Error(fmt::format("{}: most must be at least 1; got {}", who, options.most));
  if (!y_any.requires_grad())
    throw GradError(
        fmt::format("{}: y must depend on a tensor that requires a gradient; got y {}", who, describe(y_any)));
  const Tensor y = dense(y_any);
  const Graph g = graph_behind(y.body().node.get(), options.most);
  GraphPicture picture;
  for (const Node* n : g.nodes) picture.boxes.push_back(box_of(*n, g.number.at(n), options));
  if (g.left_out > 0)
    picture.boxes.push_back({GraphPicture::Kind::more, "more", fmt::format("{} more nodes", g.left_out)});
  picture.boxes.push_back({GraphPicture::Kind::result, "y", ""});
  for (const Node* n : g.nodes) add_arrows(*n, g, options, picture);
  picture.arrows.push_back({g.number.at(y.body().node.get()), static_cast<i64>(picture.boxes.size()) - 1,
                            options.shapes ? describe(y) : std::string{}});
  return picture;
}

}  // namespace moegrad
