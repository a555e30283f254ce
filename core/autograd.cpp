#include "core/autograd.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/structure.h"

namespace moegrad {
namespace {

thread_local bool recording_on = true;
thread_local u64 last_serial = 0;
thread_local u64 last_walk = 0;
thread_local GradAudit* audit = nullptr;

// A node carries its children's handles: to let the last handle of a long chain go would recurse once per node. Nodes
// whose count reaches zero while another is being destroyed wait in this list instead.
thread_local Node* doomed = nullptr;
thread_local bool destroying = false;

}  // namespace

void Node::destroy(Node* n) {
  n->next_doomed = std::exchange(doomed, n);
  if (destroying) return;
  destroying = true;
  while (doomed) {
    const Node* next = doomed;
    doomed = next->next_doomed;
    delete next;
  }
  destroying = false;
}

bool recording() { return recording_on; }
Recording::Recording(bool on) : before_(std::exchange(recording_on, on)) {}
Recording::~Recording() { recording_on = before_; }

// ---- recording

bool Tensor::requires_grad() const {
  const TensorBody& b = body();
  return b.structure ? b.structure->requires_grad() : static_cast<bool>(b.node);
}

bool detail::wants_graph(std::span<const Tensor> inputs) {
  if (!recording_on) return false;
  return std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x && x.requires_grad(); });
}

Saves saves_crossed(const Tensor& x0, const Tensor& x1) {
  return saves((x1.requires_grad() ? kX0 : kNone) | (x0.requires_grad() ? kX1 : kNone));
}

namespace {

// Does saves(..) say that the rule reads input i?
bool declares(const Node& node, int i) {
  return i < 31 ? (node.save_mask >> i & 1) != 0 : (node.save_mask & kAllX) == kAllX;
}

// The node will hang on y's body: a body that is elsewhere in a graph, or that the op was given, is not y's own.
void check_own(const Node& node, const Tensor& y, std::span<const Tensor> inputs) {
  if (!is_float(y.dtype()))
    throw InternalError(fmt::format("{}: only f32 and f64 have gradients; got y {}", node.name, describe(y)));
  const auto is_y = [&](const Tensor& x) { return x.ref() == y.ref(); };
  if (y.body().node || std::any_of(inputs.begin(), inputs.end(), is_y))
    throw InternalError(
        fmt::format("{}: an op must return a tensor of its own; got one that is in use already", node.name));
}

// Shape, dtype and values of x without its place in the graph.
Tensor values_only(const Tensor& x) {
  auto* body = new TensorBody(x.body());
  body->node = {};
  return Tensor(Ref<TensorBody>(body));
}

Node::Input make_input(const Tensor& x_any, bool keep) {
  if (!x_any) return {};
  const Tensor x = dense(x_any);
  Node::Input input{.node = x.body().node, .dtype = x.dtype(), .shape = x.shape()};
  if (keep) {
    input.value = x;
    input.version = x.body().storage->version;
  }
  return input;
}

}  // namespace

void detail::attach(const Tensor& y, Ref<Node> node, std::span<const Tensor> inputs, Saves saves) {
  check_own(*node, y, inputs);
  node->save_mask = saves.mask;
  node->extra = std::move(saves.extra);
  u64 newest = last_serial;
  int i = 0;
  for (const Tensor& x : inputs) {
    node->inputs.push_back(make_input(x, declares(*node, i)));
    if (const Node* source = node->inputs[i].node.get()) newest = std::max(newest, source->serial);
    ++i;
  }
  node->serial = last_serial = newest + 1;
  if (saves.mask & kY) {
    node->y = values_only(y);
    node->y_version = y.body().storage->version;
  }
  y.mutable_body().node = std::move(node);
}

// ---- what a rule reads

namespace {

[[noreturn]] void throw_undeclared(const Node& node, const std::string& what) {
  throw InternalError(fmt::format("{}: its gradient reads {}, which saves(..) does not declare", node.name, what));
}

bool unchanged(const Tensor& value, u32 version) { return value.body().storage->version == version; }
[[noreturn]] void throw_changed(const Node& node, const std::string& what) {
  throw GradError(
      fmt::format("{}: the saved value of {} was changed in place after it was recorded; change values after backward",
                  node.name, what));
}

const Node::Input& input_of(const Node& node, int i) {
  if (i < 0 || i >= node.inputs.size())
    throw InternalError(
        fmt::format("{}: its gradient asks for input {}, but the op has {}", node.name, i, node.inputs.size()));
  return node.inputs[i];
}

std::string input_name(const Node& node, int i) {
  const Ref<Node>& source = node.inputs[i].node;
  if (source && source->is_leaf() && !static_cast<const Leaf&>(*source).label.empty())
    return fmt::format("input {} (parameter '{}')", i, static_cast<const Leaf&>(*source).label);
  return fmt::format("input {}", i);
}

}  // namespace

Tensor GradArgs::in(int i) const {
  const Node::Input& input = input_of(node_, i);
  if (!declares(node_, i)) throw_undeclared(node_, input_name(node_, i));
  if (input.value && !unchanged(input.value, input.version)) throw_changed(node_, input_name(node_, i));
  if (i < 31) node_.read_mask |= u32{1} << i;
  return input.value;
}

Tensor GradArgs::y() const {
  if (!node_.y) throw_undeclared(node_, "the output");
  if (!unchanged(node_.y, node_.y_version)) throw_changed(node_, "the output");
  node_.read_mask |= kY;
  if (!recording_on) return node_.y;
  Tensor y = values_only(node_.y);
  y.mutable_body().node = Ref<Node>(const_cast<Node*>(&node_));
  return y;
}

Tensor GradArgs::extra(int i) const {
  if (i < 0 || i >= static_cast<int>(node_.extra.size())) throw_undeclared(node_, fmt::format("extra result {}", i));
  return node_.extra[static_cast<std::size_t>(i)];
}
int GradArgs::inputs() const { return node_.inputs.size(); }
const Shape& GradArgs::shape(int i) const { return input_of(node_, i).shape; }
DType GradArgs::dtype(int i) const { return input_of(node_, i).dtype; }
bool GradArgs::needs(int i) const { return i > 63 || (node_.needs >> i & 1) != 0; }

// ---- walking backwards

namespace {

// One backward pass. Nodes carry their slot in it; a walk inside a walk (a fused op's twin, a checkpoint) may meet
// nodes that the outer one is using, and puts their scratch back when it ends.
class Walk {
 public:
  Walk(const Tensor& y, std::span<const Tensor> targets, bool all_leaves);  // collects and marks
  ~Walk();
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;
  void run(const Tensor& dy, const GradOptions& options);
  /// Gradient that reached `x`, empty if none did.
  Tensor result(const Tensor& x) const;
  /// Adds what reached the leaves to their gradients.
  void deposit() const;

 private:
  // A constructor of its own, so that the destructor runs even when the rest of construction throws.
  Walk(const Tensor& y, bool all_leaves) : all_leaves_(all_leaves), root_(dense(y).body().node) {}
  struct Visit {
    Node* node;
    Tensor grad;
    bool target = false;  // its gradient is asked for
    bool deeper = false;  // a target lies behind it: its rule must run
    bool useful() const { return target || deeper; }
  };
  struct Before {
    Node* node;
    i64 slot;
    u64 walk, needs;
  };
  void collect(Node* root, u64 oldest);
  void find_useful();
  void step(Visit& v, const GradOptions& options);
  void pass_on(const Node& node, Grads& grads);

  u64 id_ = ++last_walk;
  bool all_leaves_;
  Ref<Node> root_;
  std::vector<Visit> visits_;  // newest first
  std::vector<Before> before_;
};

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
  if (audit) audit->note(node);
  pass_on(node, grads);
  if (!options.retain_graph && !options.create_graph) {
    for (int i = 0; i < node.inputs.size(); ++i) node.inputs[i].value = {};
    node.y = {};
    node.extra.clear();
    node.released = true;
  }
}

bool broadcasts_to(const Shape& shape, const Shape& to) {
  const int extra = to.rank() - shape.rank();
  if (extra < 0) return false;
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] != 1 && shape[i] != to[i + extra]) return false;
  return true;
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

// A gradient may be a view, or the very tensor that another leaf got. Optimizers and clipping write into `.grad`, so
// there it must be nobody else's.
Tensor own(const Tensor& g) {
  if (g.is_contiguous() && g.ref().unique() && g.body().storage.unique()) return g;
  const Tensor copy = empty_like(g);
  copy.assign(g);
  return copy;
}

void Walk::deposit() const {
  no_grad guard;
  for (const Visit& v : visits_) {
    if (!v.grad || !v.node->is_leaf()) continue;
    Tensor& sum = static_cast<Leaf*>(v.node)->grad;
    sum = sum ? add(sum, v.grad) : own(v.grad);
  }
}

void check_root(const char* op, const Tensor& y, const Tensor& dy) {
  if (!y.requires_grad())
    throw GradError(fmt::format("{}: y must depend on a tensor that requires a gradient; got y {}", op, describe(y)));
  if (!dy && y.size() != 1)
    throw GradError(fmt::format("{}: y must have one element, or dy must be given; got y {}", op, describe(y)));
  if (!dy) return;
  check_same_dtype(op, y, dy);
  if (dy.shape() != y.shape())
    throw ShapeError(fmt::format("{}: dy must have the shape of y; got dy {} and y {}", op, to_string(dy.shape()),
                                 to_string(y.shape())));
}

void check_target(const Tensor& x) {
  if (x.body().structure)
    throw GradError(
        "grad: a structured one-hot has no gradient of its own; ask for that of its scale, or make it dense first");
  if (!x.requires_grad()) throw GradError(fmt::format("grad: every x must require a gradient; got x {}", describe(x)));
}

}  // namespace

std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, const Tensor& dy, GradOptions options) {
  check_root("grad", y, dy);
  for (const Tensor& x : xs) check_target(x);
  Walk walk(y, xs, false);
  walk.run(dy ? dy : ones_like(y), options);
  std::vector<Tensor> results;
  for (const Tensor& x : xs) {
    const Tensor g = walk.result(x);
    results.push_back(g ? g : zeros_like(x));
  }
  return results;
}
std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, GradOptions options) {
  return grad(y, xs, Tensor{}, options);
}

void backward(const Tensor& y, const Tensor& dy, GradOptions options) {
  check_root("backward", y, dy);
  if (options.create_graph)
    throw GradError("backward: .grad holds values without a graph; use grad(y, xs, {.create_graph = true})");
  Walk walk(y, {}, true);
  walk.run(dy ? dy : ones_like(y), options);
  walk.deposit();
}
void backward(const Tensor& y, GradOptions options) { backward(y, Tensor{}, options); }

Tensor alias(const Tensor& x) {
  return record("alias", view_of(x, x.shape(), x.strides(), x.body().offset), {x}, saves(kNone),
                [](const GradArgs& g) -> Grads { return {g.dy}; });
}

// The partial derivatives of twin(inputs) with respect to each input by itself: aliases cut the paths between inputs.
Grads detail::differentiate_twin(const GradArgs& args, const std::function<Tensor(std::span<const Tensor>)>& twin) {
  std::vector<Tensor> inputs, wanted;
  for (int i = 0; i < args.inputs(); ++i) {
    const Tensor x = args.in(i);
    const bool differentiable = x && x.requires_grad();
    inputs.push_back(differentiable ? alias(x) : x);
    if (differentiable && args.needs(i)) wanted.push_back(inputs.back());
  }
  if (wanted.empty()) return {};
  const Tensor y = twin(inputs);
  const std::vector<Tensor> found = grad(y, wanted, args.dy, {.create_graph = true});
  Grads grads;
  std::size_t next = 0;
  for (const Tensor& x : inputs) {
    const bool asked = next < wanted.size() && x.ref() == wanted[next].ref();
    grads.push_back(asked ? found[next++] : Tensor{});
  }
  return grads;
}

// ---- leaves

namespace {
Leaf& leaf_of(const char* op, const Tensor& x) {
  const Ref<Node>& node = x.body().node;
  if (!node || !node->is_leaf())
    throw GradError(fmt::format("{}: x must be a leaf (see requires_grad_); got {} {}", op,
                                node ? "the result of an op" : "a tensor without gradient", describe(x)));
  return static_cast<Leaf&>(*node);
}
}  // namespace

Tensor& Tensor::requires_grad_(bool on) {
  TensorBody& b = mutable_body();
  if (b.structure)
    throw GradError(
        "requires_grad_: a structured one-hot has no gradient of its own; use its scale, or make it dense first");
  if (b.node && !b.node->is_leaf())
    throw GradError(fmt::format("requires_grad_: x must not be the result of an op; got {} {} (detach it first)",
                                b.node->name, moegrad::describe(*this)));
  if (on && !is_float(b.dtype)) throw_dtype("requires_grad_", "f32 or f64", b.dtype);
  if (on && !b.node) {
    b.node = Ref<Node>(new Leaf);
    b.node->serial = ++last_serial;
  }
  if (!on) b.node = {};
  return *this;
}
Tensor Tensor::grad() const { return leaf_of("grad", *this).grad; }
void Tensor::zero_grad() const { leaf_of("zero_grad", *this).grad = {}; }
void Tensor::set_name(std::string name) const { leaf_of("set_name", *this).label = std::move(name); }
std::string Tensor::name() const {
  return body().node && body().node->is_leaf() ? static_cast<const Leaf&>(*body().node).label : std::string{};
}
void Tensor::backward() const { moegrad::backward(*this); }

Tensor Tensor::detach() const {
  if (body().structure) return body().structure->detach();
  return values_only(*this);
}

// ---- audit

GradAudit::GradAudit() : outer_(std::exchange(audit, this)) {}
GradAudit::~GradAudit() { audit = outer_; }
void GradAudit::note(const Node& node) {
  Entry& e = entries_[node.name];
  const int n = std::min(node.inputs.size(), 31);
  e.declared |= node.save_mask & (kY | ((u32{1} << n) - 1));
  e.read |= node.read_mask;
  if (outer_) outer_->note(node);
}

}  // namespace moegrad
