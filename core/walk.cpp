#include "core/walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace moegrad {
namespace {

thread_local u64 last_walk = 0;

bool broadcasts_to(const Shape& shape, const Shape& to) {
  const int extra = to.rank() - shape.rank();
  if (extra < 0) return false;
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] != 1 && shape[i] != to[i + extra]) return false;
  return true;
}

// A gradient may be a view, or the very tensor that another leaf got. Optimizers and clipping write into `.grad`, so
// there it must be nobody else's.
Tensor own(const Tensor& g) {
  if (g.is_contiguous() && g.ref().unique() && g.body().storage.unique()) return g;
  const Tensor copy = empty_like(g);
  copy.assign(g);
  return copy;
}

}  // namespace

Walk::Walk(const Tensor& y, bool all_leaves) : id_(++last_walk), all_leaves_(all_leaves), root_(dense(y).body().node) {}

Walk::Walk(const Tensor& y, std::span<const Tensor> targets, bool all_leaves) : Walk(y, all_leaves) {
  u64 oldest = all_leaves ? 0 : std::numeric_limits<u64>::max();
  for (const Tensor& x : targets) oldest = std::min(oldest, x.body().node->serial);
  collect(root_.get(), oldest);
  for (const Tensor& x : targets) {
    const Node& n = *x.body().node;
    if (n.walk == id_) visits_[static_cast<std::size_t>(n.slot)].target = true;
  }
  find_useful();
}

Walk::~Walk() {
  for (const Visit& v : visits_) v.node->walk = 0;
  for (const Before& b : before_) b.node->slot = b.slot, b.node->walk = b.walk, b.node->needs = b.needs;
}

void Walk::collect(Node* root, u64 oldest) {
  std::vector<Node*> todo;
  const auto meet = [&](Node* n) {
    if (n->walk == id_ || n->serial < oldest) return;
    if (n->walk != 0) before_.push_back({n, n->slot, n->walk, n->needs});
    visits_.push_back({.node = n});
    n->walk = id_;
    todo.push_back(n);
  };
  meet(root);
  while (!todo.empty()) {
    Node* n = todo.back();
    todo.pop_back();
    for (int i = 0; i < n->inputs.size(); ++i)
      if (Node* source = n->inputs[i].node.get()) meet(source);
  }
  std::sort(visits_.begin(), visits_.end(),
            [](const Visit& a, const Visit& b) { return a.node->serial > b.node->serial; });
  for (std::size_t s = 0; s < visits_.size(); ++s) visits_[s].node->slot = static_cast<i64>(s);
}

void Walk::find_useful() {
  for (auto v = visits_.rbegin(); v != visits_.rend(); ++v) {  // inputs before the nodes that use them
    v->target |= all_leaves_ && v->node->is_leaf();
    v->node->needs = 0;
    for (int i = 0; i < v->node->inputs.size(); ++i) {
      const Node* source = v->node->inputs[i].node.get();
      if (!source || source->walk != id_ || !visits_[static_cast<std::size_t>(source->slot)].useful()) continue;
      v->deeper = true;
      if (i < 64) v->node->needs |= u64{1} << i;
    }
  }
}

void Walk::run(const Tensor& dy, const GradOptions& options) {
  if (visits_.empty()) return;
  Recording scope(options.create_graph);
  visits_.front().grad = dense(dy);
  for (Visit& v : visits_) step(v, options);
}

void Walk::step(Visit& v, const GradOptions& options) {
  Node& node = *v.node;
  if (!v.grad || !v.deeper) return;  // nothing came, or nobody asks for what lies behind
  if (node.released)
    throw GradError(fmt::format(
        "{}: backward needs values that an earlier backward released; pass retain_graph to that one", node.name));
  const Tensor dy = v.grad;
  if (!v.target) v.grad = {};
  node.read_mask = 0;
  Grads grads = node.vjp(GradArgs(node, dy));
  GradAudit::note_if_any(node);
  pass_on(node, grads);
  if (!options.retain_graph && !options.create_graph) {
    for (int i = 0; i < node.inputs.size(); ++i) node.inputs[i].value = {};
    node.y = {};
    node.extra.clear();
    node.released = true;
  }
}

void Walk::pass_on(const Node& node, Grads& grads) {
  if (grads.size() > node.inputs.size())
    throw InternalError(fmt::format("{}: a gradient has one entry per input; got {} for {}", node.name, grads.size(),
                                    node.inputs.size()));
  for (int i = 0; i < grads.size(); ++i) {
    const Node::Input& input = node.inputs[i];
    if (!grads[i] || !input.node || input.node->walk != id_) continue;
    Visit& to = visits_[static_cast<std::size_t>(input.node->slot)];
    if (!to.useful()) continue;
    Tensor g = dense(grads[i]);
    if (g.dtype() != input.dtype || !broadcasts_to(input.shape, g.shape()))
      throw InternalError(fmt::format("{}: the gradient of input {} must be {} {}, or broadcast from it; got {}",
                                      node.name, i, name(input.dtype), to_string(input.shape), describe(g)));
    if (g.shape() != input.shape) g = sum_to(g, input.shape);
    to.grad = to.grad ? add(to.grad, g) : g;
  }
}

Tensor Walk::result(const Tensor& x) const {
  const Node& n = *x.body().node;
  return n.walk == id_ ? visits_[static_cast<std::size_t>(n.slot)].grad : Tensor{};
}

void Walk::deposit() const {
  no_grad guard;
  for (const Visit& v : visits_) {
    if (!v.grad || !v.node->is_leaf()) continue;
    Tensor& sum = static_cast<Leaf*>(v.node)->grad;
    sum = sum ? add(sum, v.grad) : own(v.grad);
  }
}

}  // namespace moegrad
