// The way of gradients through a graph: order, accumulation, summing back to a broadcast input's shape, and release.
// Only core/autograd.cpp uses it; it is the second half of the engine.
#pragma once
#include <span>
#include <vector>

#include "core/autograd.h"

namespace moegrad {

/// One backward pass. Nodes carry their slot in it; a walk inside a walk (a fused op's twin, a checkpoint) may meet
/// nodes that the outer one is using, and puts their scratch back when it ends.
class Walk {
 public:
  /// Collects what lies between y and its targets, or all leaves.
  Walk(const Tensor& y, std::span<const Tensor> targets, bool all_leaves);
  ~Walk();
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;
  /// Runs the rules, newest first, from the gradient of y.
  void run(const Tensor& dy, const GradOptions& options);
  /// Gradient that reached `x`, empty if none did.
  Tensor result(const Tensor& x) const;
  /// Adds what reached the leaves to their gradients.
  void deposit() const;

 private:
  // A constructor of its own, so that the destructor runs even when the rest of construction throws.
  Walk(const Tensor& y, bool all_leaves);
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

  u64 id_;
  bool all_leaves_;
  Ref<Node> root_;
  std::vector<Visit> visits_;  // newest first
  std::vector<Before> before_;
};

}  // namespace moegrad
