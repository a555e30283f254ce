#include "core/autograd.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <string_view>

#include "core/observe.h"
#include "core/structure.h"
#include "core/walk.h"

namespace moegrad {
namespace {

thread_local bool recording_on = true;
std::atomic<u64> last_serial = 0;  // of all threads: what is made later has a larger one, whoever made it
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

detail::Wanted detail::wanted(std::span<const Tensor> inputs) {
  const auto differentiable = [](const Tensor& x) { return x && x.requires_grad(); };
  return {recording_on && std::any_of(inputs.begin(), inputs.end(), differentiable), Observer::any()};
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
    throw InternalError(fmt::format("{}: only f32, f64 and bf16 have gradients; got y {}", node.name, describe(y)));
  const auto is_y = [&](const Tensor& x) { return x.ref() == y.ref(); };
  if (y.body().node || std::any_of(inputs.begin(), inputs.end(), is_y))
    throw InternalError(
        fmt::format("{}: an op must return a tensor of its own; got one that is in use already", node.name));
}

// Shape, dtype and values of x without its place in the graph.
Tensor values_only(const Tensor& x) {
  auto* body = new TensorBody(x.body());
  body->node = {};
  body->output = 0;
  return Tensor(Ref<TensorBody>(body));
}

Node::Input make_input(const Tensor& x_any, bool keep) {
  if (!x_any) return {};
  const Tensor x = dense(x_any);
  Node::Input input{
      .node = x.body().node, .output = x.body().output, .given = true, .dtype = x.dtype(), .shape = x.shape()};
  if (keep) {
    input.value = x;
    input.version = x.body().storage->version;
  }
  return input;
}

void attach(std::span<const Tensor> ys, const Ref<Node>& node, std::span<const Tensor> inputs, Saves saves) {
  for (const Tensor& y : ys) check_own(*node, y, inputs);
  if (ys.size() > 1 && (saves.mask & kY))
    throw InternalError(fmt::format("{}: only an op with one output can declare kY; use extra results", node->name));
  node->save_mask = saves.mask;
  node->extra = std::move(saves.extra);
  node->outputs = static_cast<int>(ys.size());
  int i = 0;
  for (const Tensor& x : inputs) {
    node->inputs.push_back(make_input(x, declares(*node, i)));
    ++i;
  }
  node->serial = ++last_serial;
  if (saves.mask & kY) {
    node->y = values_only(ys[0]);
    node->y_version = ys[0].body().storage->version;
  }
  for (int k = 0; k < node->outputs; ++k) {
    TensorBody& body = ys[static_cast<std::size_t>(k)].mutable_body();
    if (body.node)
      throw InternalError(
          fmt::format("{}: an op must return tensors of its own; got one that is two of its outputs", node->name));
    body.node = node;
    body.output = k;
  }
}

}  // namespace

void detail::enter(std::span<const Tensor> ys, Ref<Node> node, std::span<const Tensor> inputs, Saves saves,
                   Wanted wanted) {
  if (wanted.by_graph) attach(ys, node, inputs, std::move(saves));
  if (wanted.by_observer) Observer::tell([&](Observer& o) { o.ran(*node, ys, inputs); });
}

std::string describe_input(int i, const Node* source) {
  while (source && std::string_view(source->name) == "alias") source = source->inputs[0].node.get();
  const std::string label = source && source->is_leaf() ? static_cast<const Leaf*>(source)->label : std::string{};
  return label.empty() ? fmt::format("input {}", i) : fmt::format("input {} (parameter '{}')", i, label);
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

std::string input_name(const Node& node, int i) { return describe_input(i, node.inputs[i].node.get()); }

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
Device GradArgs::device() const {
  return std::find_if(dys_.begin(), dys_.end(), [](const Tensor& g) { return static_cast<bool>(g); })->device();
}
int GradArgs::inputs() const { return node_.inputs.size(); }
const Shape& GradArgs::shape(int i) const { return input_of(node_, i).shape; }
DType GradArgs::dtype(int i) const { return input_of(node_, i).dtype; }
bool GradArgs::needs(int i) const { return i > 63 || (node_.needs >> i & 1) != 0; }

// ---- gradients

namespace {

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

std::vector<Tensor> grad(std::span<const Tensor> ys, std::span<const Tensor> xs, std::span<const Tensor> dys_any,
                         GradOptions options) {
  if (!dys_any.empty() && dys_any.size() != ys.size())
    throw GradError(fmt::format("grad: there must be one dy per y; got {} for {}", dys_any.size(), ys.size()));
  SmallList<Tensor, 1> dys;
  for (std::size_t i = 0; i < ys.size(); ++i) {
    const Tensor dy = dys_any.empty() ? Tensor{} : dys_any[i];
    check_root("grad", ys[i], dy);
    dys.push_back(dy ? dy : ones_like(ys[i]));
  }
  for (const Tensor& x : xs) check_target(x);
  Walk walk(ys, xs, false);
  walk.run(dys, options);
  std::vector<Tensor> results;
  for (const Tensor& x : xs) {
    const Tensor g = walk.result(x);
    results.push_back(g ? g : zeros_like(x));
  }
  return results;
}
std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, const Tensor& dy, GradOptions options) {
  return grad(std::span<const Tensor>(&y, 1), xs, std::span<const Tensor>(&dy, 1), options);
}
std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, GradOptions options) {
  return grad(y, xs, Tensor{}, options);
}

void backward(const Tensor& y, const Tensor& dy, GradOptions options) {
  check_root("backward", y, dy);
  if (options.create_graph)
    throw GradError("backward: .grad holds values without a graph; use grad(y, xs, {.create_graph = true})");
  Walk walk({&y, 1}, {}, true);
  walk.run({dy ? dy : ones_like(y)}, options);
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
  if (on && !is_float(b.dtype)) throw_dtype("requires_grad_", kFloats, b.dtype);
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
void GradAudit::note_if_any(const Node& node) {
  if (audit) audit->note(node);
}
void GradAudit::note(const Node& node) {
  Entry& e = entries_[node.name];
  const int n = std::min(node.inputs.size(), 31);
  e.declared |= node.save_mask & (kY | ((u32{1} << n) - 1));
  e.read |= node.read_mask;
  if (outer_) outer_->note(node);
}

}  // namespace moegrad
