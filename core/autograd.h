// The engine: recording ops as nodes of a graph, and walking that graph backwards.
//
// A node's rule is its vector-Jacobian product, written with public ops. Under `create_graph` those ops record in turn,
// so a gradient can be differentiated again. The engine owns what all gradients share: order, accumulation, summing a
// gradient back to a broadcast input's shape, and release.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/small_list.h"
#include "core/tensor.h"

namespace moegrad {

// ---- recording on and off

/// True where ops on this thread enter the graph.
bool recording();
/// Switches recording for a scope: `no_grad guard;`
class Recording {
 public:
  explicit Recording(bool on);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool before_;
};
struct no_grad : Recording {
  no_grad() : Recording(false) {}
};

// ---- what a rule is given

/// What a rule reads later. Everything else keeps its shape and dtype only.
inline constexpr u32 kNone = 0;
inline constexpr u32 kX0 = 1, kX1 = 2, kX2 = 4, kX3 = 8, kX4 = 16;  ///< values of inputs
inline constexpr u32 kAllX = 0x7fffffff;                            ///< values of all inputs
inline constexpr u32 kY = u32{1} << 31;                             ///< value of the output
struct Saves {
  u32 mask = kNone;
  std::vector<Tensor> extra;  ///< further results without a gradient, such as a log-sum-exp
};
inline Saves saves(u32 mask) { return {mask, {}}; }
inline Saves saves(u32 mask, std::vector<Tensor> extra) { return {mask, std::move(extra)}; }

/// For products: the gradient of each of two inputs reads the other, which is kept only where that gradient can be
/// asked for.
Saves saves_crossed(const Tensor& x0, const Tensor& x1);

/// One gradient per input; an empty Tensor means that this input gets none.
using Grads = SmallList<Tensor, 3>;

/// The arguments of a rule.
class GradArgs {
 public:
  GradArgs(const Node& node, std::span<const Tensor> grads) : dy(grads[0]), node_(node), dys_(grads) {}
  const Tensor& dy;  ///< gradient of the output, in its shape
  /// Gradient of output i of an op with several; empty where none came.
  const Tensor& dys(int i) const { return dys_[static_cast<std::size_t>(i)]; }
  Device device() const;
  /// Value of input i, empty where the op was given an empty handle.
  ///   Errors  InternalError naming op and input: not declared in saves(..).  GradError: changed since
  Tensor in(int i) const;
  /// Value of the output; declared with kY. Errors as in().
  Tensor y() const;
  Tensor extra(int i) const;
  int inputs() const;
  const Shape& shape(int i) const;  ///< of input i, always known
  DType dtype(int i) const;
  /// Is the gradient of input i asked for? A rule may return an empty Tensor where not.
  bool needs(int i) const;

 private:
  const Node& node_;
  std::span<const Tensor> dys_;
};

// ---- the graph

/// One recorded op, or a leaf.
struct Node : Pooled {
  struct Input {
    Ref<Node> node;      // absent where no gradient flows
    Tensor value;        // absent unless declared
    int output = 0;      // of `node`
    bool given = false;  // false: an empty handle
    u32 version = 0;
    DType dtype{};
    Shape shape;
  };

  explicit Node(const char* op) : name(op) {}
  virtual ~Node() = default;
  virtual Grads vjp(const GradArgs& args) const = 0;
  /// Attributes worth showing, such as "axis = 1".
  virtual std::string attributes() const { return {}; }
  /// Multiplications and additions, where shapes alone do not tell; else -1.
  virtual double flops() const { return -1; }
  virtual bool is_leaf() const { return false; }
  static void destroy(Node* n);

  int refs = 0;
  int outputs = 1;
  u64 serial = 0;  // grows with time in all threads together: inputs always have smaller ones
  const char* name;
  u32 save_mask = kNone;
  bool released = false;
  SmallList<Input, 2> inputs;
  Tensor y;  // shape and dtype of the output; its values where declared; never the node, so there is no cycle
  u32 y_version = 0;
  std::vector<Tensor> extra;
  // scratch of the walk that visits this node now, if any
  mutable i64 slot = -1;
  mutable u64 walk = 0;
  mutable u64 needs = 0;        // bit i: input i's gradient is asked for (inputs beyond 63: always)
  mutable u32 read_mask = 0;    // what the rule has read, for GradAudit
  Node* next_doomed = nullptr;  // while it waits to be destroyed
};

/// A tensor that gradients are taken with respect to and accumulated in.
struct Leaf final : Node {
  Leaf() : Node("leaf") {}
  Grads vjp(const GradArgs&) const override { return {}; }
  bool is_leaf() const override { return true; }
  Tensor grad;
  std::string label;
};

namespace detail {
/// Who wants a node of an op with these inputs.
struct Wanted {
  bool by_graph, by_observer;
};
Wanted wanted(std::span<const Tensor> inputs);
void enter(std::span<const Tensor> ys, Ref<Node> node, std::span<const Tensor> inputs, Saves saves, Wanted wanted);

template <class Rule, class Attributes> struct OpNode final : Node {
  OpNode(const char* op, Rule r, Attributes a) : Node(op), rule(std::move(r)), show(std::move(a)) {}
  Grads vjp(const GradArgs& args) const override { return rule(args); }
  std::string attributes() const override { return show(); }
  double flops() const override {
    if constexpr (requires { show.flops(); }) return show.flops();
    return -1;
  }
  Rule rule;
  Attributes show;
};
struct NoAttributes {
  std::string operator()() const { return {}; }
};
}  // namespace detail

/// Enters y = op(inputs) into the graph if recording is on and an input requires a gradient; returns y.
///   rule        GradArgs -> Grads, in public ops; captures plain attributes and index tables only
///   attributes  () -> std::string, shown by diagnostics: "axis = 1". May have a function flops() as well
template <class Rule, class Attributes = detail::NoAttributes>
Tensor record(const char* name, Tensor y, std::span<const Tensor> inputs, Saves saves, Rule rule,
              Attributes attributes = {}) {
  const detail::Wanted wanted = detail::wanted(inputs);
  if (!wanted.by_graph && !wanted.by_observer) return y;
  Ref<Node> node(new detail::OpNode<Rule, Attributes>(name, std::move(rule), std::move(attributes)));
  detail::enter({&y, 1}, std::move(node), inputs, std::move(saves), wanted);
  return y;
}
template <class Rule, class Attributes = detail::NoAttributes>
Tensor record(const char* name, Tensor y, std::initializer_list<Tensor> inputs, Saves saves, Rule rule,
              Attributes attributes = {}) {
  return record(name, std::move(y), std::span<const Tensor>(inputs.begin(), inputs.size()), std::move(saves),
                std::move(rule), std::move(attributes));
}
/// The same for an op with several outputs. Its rule reads g.dys(i), and runs once when a gradient reached any of them.
template <class Rule, class Attributes = detail::NoAttributes>
std::vector<Tensor> record(const char* name, std::vector<Tensor> ys, std::span<const Tensor> inputs, Saves saves,
                           Rule rule, Attributes attributes = {}) {
  const detail::Wanted wanted = detail::wanted(inputs);
  if (ys.empty() || (!wanted.by_graph && !wanted.by_observer)) return ys;
  Ref<Node> node(new detail::OpNode<Rule, Attributes>(name, std::move(rule), std::move(attributes)));
  detail::enter(ys, std::move(node), inputs, std::move(saves), wanted);
  return ys;
}

// ---- gradients

struct GradOptions {
  bool create_graph = false;  ///< record the gradient itself, so that it can be differentiated
  bool retain_graph = false;  ///< keep saved values for another backward; create_graph implies it
};

/// d(y)/d(x) for every x of xs, as tensors of the same shapes; zeros where y does not depend on x.
///   dy      gradient of y; may be left out where y has one element
///   Errors  GradError: y is in no graph, y has more elements than one and no dy was given, x is structured or needs no
///           gradient, the graph was released.  ShapeError: dy has another shape than y
std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, const Tensor& dy, GradOptions options = {});
std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, GradOptions options = {});
inline std::vector<Tensor> grad(const Tensor& y, std::initializer_list<Tensor> xs, GradOptions options = {}) {
  return grad(y, std::span<const Tensor>(xs.begin(), xs.size()), options);
}
inline std::vector<Tensor> grad(const Tensor& y, std::initializer_list<Tensor> xs, const Tensor& dy,
                                GradOptions options = {}) {
  return grad(y, std::span<const Tensor>(xs.begin(), xs.size()), dy, options);
}
/// The same for several ys at once: sum over i of dys[i] d(ys[i])/d(x). dys is empty, or has one entry per y, which may
/// be left empty where that y has one element.
std::vector<Tensor> grad(std::span<const Tensor> ys, std::span<const Tensor> xs, std::span<const Tensor> dys,
                         GradOptions options = {});
/// Adds dy * d(y)/d(leaf) to the gradient of every leaf that y depends on. Those gradients are values of their own:
/// contiguous, shared with nobody, in no graph.
///   Errors  as grad; GradError also for create_graph, because a leaf that held its own graph would never be freed
void backward(const Tensor& y, const Tensor& dy, GradOptions options = {});
void backward(const Tensor& y, GradOptions options = {});

/// Identity: a fresh name for x in the graph.
Tensor alias(const Tensor& x);

// ---- fused ops

namespace detail {
Grads differentiate_twin(const GradArgs& args, const std::function<Tensor(std::span<const Tensor>)>& twin);
}

/// Records an op that has a kernel for its gradient as well. `backward` (GradArgs -> Grads) runs where no graph is
/// asked for; under create_graph the engine differentiates `twin` (inputs -> y), the same function written as a
/// composite of public ops. Values of all inputs are saved.
template <class Backward, class Twin, class Attributes = detail::NoAttributes>
Tensor fused(const char* name, Tensor y, std::initializer_list<Tensor> inputs, Saves saves, Backward backward,
             Twin twin, Attributes attributes = {}) {
  saves.mask |= kAllX;
  return record(
      name, std::move(y), inputs, std::move(saves),
      [backward = std::move(backward), twin = std::move(twin)](const GradArgs& g) -> Grads {
        return recording() ? detail::differentiate_twin(g, twin) : backward(g);
      },
      std::move(attributes));
}

// ---- diagnostics

/// "input 1", or "input 1 (parameter 'head.weight')" where it comes from a leaf with a name, or from an alias of one.
std::string describe_input(int i, const Node* source);

/// While it lives, notes for every op name what its rules declared and what they read. For tests.
class GradAudit {
 public:
  GradAudit();
  ~GradAudit();
  GradAudit(const GradAudit&) = delete;
  GradAudit& operator=(const GradAudit&) = delete;
  struct Entry {
    u32 declared = 0, read = 0;
  };
  /// Op name -> what it declared and read, united over all its nodes.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  void note(const Node& node);
  /// In the innermost audit of this thread, if there is one.
  static void note_if_any(const Node& node);

 private:
  std::map<std::string, Entry> entries_;
  GradAudit* outer_;
};

// The engine uses two ops, which ops/ defines: the sum of two gradients, and the sum over broadcast axes.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace moegrad
