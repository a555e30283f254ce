#include "core/walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/observe.h"

namespace moegrad {
namespace {

thread_local u64 last_walk = 0;

// A gradient may be a view, or the very tensor that another leaf got. Optimizers and clipping write into `.grad`, so
// there it must be nobody else's.
Tensor own(const Tensor& g) {
  if (g.is_contiguous() && g.ref().unique() && g.body().storage.unique()) return g;
  const Tensor copy = empty_like(g);
  copy.assign(g);
  return copy;
}

}  // namespace

Walk::Walk(std::span<const Tensor> ys, bool all_leaves) : id_(++last_walk), all_leaves_(all_leaves) {
  for (const Tensor& y : ys) roots_.push_back(dense(y));
}

Walk::Walk(std::span<const Tensor> ys, std::span<const Tensor> targets, bool all_leaves) : Walk(ys, all_leaves) {
  u64 oldest = all_leaves ? 0 : std::numeric_limits<u64>::max();
  for (const Tensor& x : targets) oldest = std::min(oldest, x.body().node->serial);
  collect(oldest);
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

void Walk::collect(u64 oldest) {
  std::vector<Node*> waiting;
  const auto meet = [&](Node* n) {
    if (n->walk == id_ || n->serial < oldest) return;
    if (n->walk != 0) before_.push_back({n, n->slot, n->walk, n->needs});
    visits_.push_back({.node = n});
    n->walk = id_;
    waiting.push_back(n);
  };
  for (int i = 0; i < roots_.size(); ++i) meet(roots_[i].body().node.get());
  while (!waiting.empty()) {
    Node* n = waiting.back();
    waiting.pop_back();
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

Tensor& Walk::gradient(const Node& node, int output) {
  return output == 0 ? visits_[static_cast<std::size_t>(node.slot)].grad : further_[{node.slot, output}];
}

void Walk::add_to(const Node& node, int output, const Tensor& g) {
  Tensor& sum = gradient(node, output);
  sum = sum ? add(sum, g) : g;
}

void Walk::run(const SmallList<Tensor, 1>& dys, const GradOptions& options) {
  Recording scope(options.create_graph);
  for (int i = 0; i < roots_.size(); ++i) {
    const TensorBody& root = roots_[i].body();
    if (root.node->walk == id_) add_to(*root.node, root.output, dense(dys[i]));
  }
  for (Visit& v : visits_) step(v, options);
}

Grads Walk::run_rule(const Node& node, std::span<const Tensor> dys) {
  if (!Observer::any()) return node.vjp(GradArgs(node, dys));
  Observer::tell([&](Observer& o) { o.rule_begins(node, dys); });
  Grads grads;
  try {
    grads = node.vjp(GradArgs(node, dys));
  } catch (...) {
    Observer::tell([&](Observer& o) { o.rule_ended(node, dys, nullptr); });
    throw;
  }
  Observer::tell([&](Observer& o) { o.rule_ended(node, dys, &grads); });
  return grads;
}

// The gradients that reached the outputs of a node, taken out unless somebody asked for them.
void Walk::take(const Visit& v, std::vector<Tensor>& dys) {
  for (int k = 0; k < v.node->outputs; ++k) {
    Tensor& sum = gradient(*v.node, k);
    dys.push_back(v.target ? sum : std::exchange(sum, {}));
  }
}

void Walk::step(Visit& v, const GradOptions& options) {
  Node& node = *v.node;
  if (!v.deeper) return;  // nobody asks for what lies behind
  Tensor dy = v.grad;
  std::vector<Tensor> several;
  std::span<const Tensor> dys(&dy, 1);
  if (node.outputs == 1) {
    if (!v.target) v.grad = {};
  } else {
    take(v, several);
    dys = several;
  }
  if (std::none_of(dys.begin(), dys.end(), [](const Tensor& g) { return static_cast<bool>(g); })) return;
  if (node.released)
    throw GradError(fmt::format(
        "{}: backward needs values that an earlier backward released; pass retain_graph to that one", node.name));
  node.read_mask = 0;
  Grads grads = run_rule(node, dys);
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
    if (!visits_[static_cast<std::size_t>(input.node->slot)].useful()) continue;
    Tensor g = dense(grads[i]);
    if (g.dtype() != input.dtype || !broadcasts_to(input.shape, g.shape()))
      throw InternalError(fmt::format("{}: the gradient of input {} must be {} {}, or broadcast from it; got {}",
                                      node.name, i, name(input.dtype), to_string(input.shape), describe(g)));
    if (g.shape() != input.shape) g = sum_to(g, input.shape);
    add_to(*input.node, input.output, g);
  }
}

Tensor Walk::result(const Tensor& x) {
  const TensorBody& b = x.body();
  return b.node->walk == id_ ? gradient(*b.node, b.output) : Tensor{};
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
