#include "ops/autodiff/checkpoint.h"

#include <fmt/format.h>

#include <memory>
#include <set>
#include <string>

#include "core/choose.h"
#include "core/observe.h"
#include "core/structure.h"

namespace moegrad {
namespace {

// Finds the tensors with a gradient that a function reads besides its arguments. The function runs under no_grad on
// arguments without a gradient, so that whatever requires one comes from outside.
class Reach final : public Observer {
 public:
  Reach() : begin_(scalar(0).requires_grad_()) {}
  void ran(const Node&, std::span<const Tensor>, std::span<const Tensor> inputs) override {
    for (const Tensor& x : inputs) add(x);
  }
  void add(const Tensor& x_any) {
    if (!x_any || !x_any.requires_grad()) return;
    const Tensor x = dense(x_any);  // of a structured one the dense form that the op read
    const bool within = x.body().node->serial > begin_.body().node->serial && !structure_of(x_any);
    if (!within && seen_.insert(&x.body()).second) found_.push_back(x);
  }
  const std::vector<Tensor>& found() const { return found_; }

 private:
  Tensor begin_;  // marks the time: what fn records in a graph of its own is younger, and made again by the next run
  std::set<const TensorBody*> seen_;
  std::vector<Tensor> found_;
};

// While it lives, the given tensors stand at the end of the graph that is recorded: each is an alias of itself, with
// whose gradient the walk ends. All handles to a tensor share this, also those that a function has captured.
class Ends {
 public:
  explicit Ends(std::vector<Tensor> xs) : xs_(std::move(xs)) {
    for (const Tensor& x : xs_) {
      const Tensor end = alias(x);
      TensorBody& b = x.mutable_body();
      before_.push_back({std::exchange(b.node, end.body().node), std::exchange(b.output, 0)});
    }
  }
  ~Ends() {
    for (std::size_t i = 0; i < xs_.size(); ++i) {
      TensorBody& b = xs_[i].mutable_body();
      b.node = before_[i].node;
      b.output = before_[i].output;
    }
  }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

 private:
  struct Place {
    Ref<Node> node;
    int output;
  };
  std::vector<Tensor> xs_;
  std::vector<Place> before_;
};

// What the second run must repeat.
struct FirstRun {
  ManyFunction fn;
  std::size_t arguments = 0;
  std::vector<Tensor> constants;     // arguments that the node does not hold; empty handles for the others
  std::vector<std::string> outputs;  // dtypes and shapes
  RouteTape routes;
};

std::vector<std::string> described(const std::vector<Tensor>& ys) {
  std::vector<std::string> y;
  for (const Tensor& t : ys) y.push_back(describe(t));
  return y;
}

void check_returned(const std::vector<Tensor>& ys) {
  for (std::size_t i = 0; i < ys.size(); ++i)
    if (!ys[i]) throw Error(fmt::format("checkpoint: fn must return tensors; got an empty handle as output {}", i));
}

void check_same_again(const FirstRun& first, const std::vector<Tensor>& ys, std::size_t replayed) {
  if (replayed != first.routes.choices().size())
    throw GradError(fmt::format("checkpoint: fn must do the same again; got {} choices first and {} then",
                                first.routes.choices().size(), replayed));
  const std::vector<std::string> again = described(ys);
  if (again.size() != first.outputs.size())
    throw GradError(fmt::format("checkpoint: fn must do the same again; got {} outputs first and {} then",
                                first.outputs.size(), again.size()));
  for (std::size_t i = 0; i < again.size(); ++i)
    if (again[i] != first.outputs[i])
      throw GradError(fmt::format("checkpoint: fn must do the same again; got output {} {} first and {} then", i,
                                  first.outputs[i], again[i]));
}

std::vector<Tensor> run_again(FirstRun& first, const std::vector<Tensor>& arguments) {
  TapeScope replay(first.routes, TapeMode::replay);
  std::vector<Tensor> ys = first.fn(arguments);
  check_returned(ys);
  check_same_again(first, ys, replay.replayed());
  return ys;
}

// The gradients of floating outputs, which alone are outputs of the node.
struct Roots {
  std::vector<Tensor> ys, dys;
};
Roots roots_of(const std::vector<Tensor>& ys, const GradArgs& g) {
  Roots r;
  int k = 0;
  for (const Tensor& y : ys) {
    if (!is_float(y.dtype())) continue;
    const Tensor& dy = g.dys(k++);
    if (!dy || !y.requires_grad()) continue;
    r.ys.push_back(y);
    r.dys.push_back(dy);
  }
  return r;
}

Grads recompute(FirstRun& first, const GradArgs& g) {
  const bool create_graph = recording();
  Recording on(true);
  std::vector<Tensor> inputs, besides;
  for (int i = 0; i < g.inputs(); ++i) {
    const bool argument = static_cast<std::size_t>(i) < first.arguments;
    const Tensor x = argument && first.constants[static_cast<std::size_t>(i)]
                         ? first.constants[static_cast<std::size_t>(i)]
                         : g.in(i);
    inputs.push_back(argument && x.requires_grad() ? alias(x) : x);
    if (!argument && x.requires_grad()) besides.push_back(x);
  }
  const Ends ends(besides);
  const std::vector<Tensor> ys =
      run_again(first, {inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(first.arguments)});
  const Roots roots = roots_of(ys, g);
  std::vector<Tensor> wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (g.needs(static_cast<int>(i)) && inputs[i].requires_grad()) wanted.push_back(inputs[i]);
  if (roots.ys.empty() || wanted.empty()) return {};
  const std::vector<Tensor> found = grad(roots.ys, wanted, roots.dys, {.create_graph = create_graph});
  Grads grads;
  std::size_t next = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool asked = next < wanted.size() && inputs[i].ref() == wanted[next].ref();
    grads.push_back(asked ? found[next++] : Tensor{});
  }
  return grads;
}

}  // namespace

std::vector<Tensor> checkpoint(const ManyFunction& fn, const std::vector<Tensor>& xs) {
  if (!recording()) return fn(xs);
  const auto first = std::make_shared<FirstRun>(FirstRun{.fn = fn, .arguments = xs.size()});
  std::vector<Tensor> inputs, ys;
  {
    Reach reach;
    no_grad guard;
    TapeScope listen(first->routes, TapeMode::listen);
    std::vector<Tensor> values;
    for (const Tensor& x : xs) {
      const bool as_it_is = structure_of(x) && !x.requires_grad();
      first->constants.push_back(as_it_is ? x : Tensor{});
      inputs.push_back(as_it_is ? Tensor{} : dense(x));
      values.push_back(as_it_is ? x : inputs.back().detach());
    }
    ys = fn(values);
    check_returned(ys);
    for (const Tensor& y : ys) reach.add(y);
    inputs.insert(inputs.end(), reach.found().begin(), reach.found().end());
  }
  first->outputs = described(ys);
  std::vector<Tensor> floating;
  for (Tensor& y : ys) {
    if (is_float(y.dtype()))
      floating.push_back(y = dense(y).detach());  // a body of its own, also if fn returned an argument
  }
  floating = record("checkpoint", std::move(floating), inputs, saves(kAllX),
                    [first](const GradArgs& g) -> Grads { return recompute(*first, g); });
  return ys;
}

Tensor checkpoint(const Function& fn, const std::vector<Tensor>& xs) {
  return checkpoint([fn](const std::vector<Tensor>& in) { return std::vector<Tensor>{fn(in)}; }, xs)[0];
}
Tensor checkpoint(const FunctionOfOne& fn, const Tensor& x) {
  return checkpoint([fn](const std::vector<Tensor>& in) { return std::vector<Tensor>{fn(in[0])}; }, {x})[0];
}

}  // namespace moegrad
