// The way of gradients through a graph: order, accumulation, summing back to a broadcast input's shape, and release.
// Only core/autograd.cpp uses it; it is the second half of the engine.
#pragma once
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "core/autograd.h"

namespace moegrad {

/// One backward pass. Nodes carry their slot in it; a walk inside a walk (a fused op's twin, a checkpoint) may meet
/// nodes that the outer one is using, and puts their scratch back when it ends.
class Walk {
 public:
  /// Collects what lies between ys and their targets, or all leaves.
  Walk(std::span<const Tensor> ys, std::span<const Tensor> targets, bool all_leaves);
  ~Walk();
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;
  /// Runs the rules, newest first, from the gradients of ys.
  void run(const SmallList<Tensor, 1>& dys, const GradOptions& options);
  /// Gradient that reached `x`, empty if none did.
  Tensor result(const Tensor& x);
  /// Adds what reached the leaves to their gradients.
  void deposit() const;

 private:
  // A constructor of its own, so that the destructor runs even when the rest of construction throws.
  Walk(std::span<const Tensor> ys, bool all_leaves);
  struct Visit {
    Node* node;
    Tensor grad;          // of output 0
    bool target = false;  // its gradient is asked for
    bool deeper = false;  // a target lies behind it: its rule must run
    bool useful() const { return target || deeper; }
  };
  struct Before {
    Node* node;
    i64 slot;
    u64 walk, needs;
  };
  void collect(u64 oldest);
  void find_useful();
  void take(const Visit& v, std::vector<Tensor>& dys);
  void step(Visit& v, const GradOptions& options);
  Grads run_rule(const Node& node, std::span<const Tensor> dys);
  void pass_on(const Node& node, Grads& grads);
  /// The gradient collected for one output of a visited node.
  Tensor& gradient(const Node& node, int output);
  void add_to(const Node& node, int output, const Tensor& g);

  u64 id_;
  bool all_leaves_;
  SmallList<Tensor, 1> roots_;
  std::vector<Visit> visits_;                      // newest first
  std::map<std::pair<i64, int>, Tensor> further_;  // gradients of outputs 1, 2, .. by slot and output
  std::vector<Before> before_;
};

}  // namespace moegrad
