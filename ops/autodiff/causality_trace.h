// Two runs of a function side by side: which op shows a change first. Only ops/autodiff/causality.cpp uses it.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/observe.h"

namespace moegrad {

/// Positions before `cut` on an axis of `size`.
struct Prefix {
  i64 size, cut;
  double tolerance;
};

/// The largest change of a over b before the cut, along all axes of the size, if it exceeds the tolerance; else 0.
/// Tensors without such an axis are compared as a whole.
double change_before(const Tensor& a, const Tensor& b, const Prefix& prefix);
bool has_axis(const Tensor& x, i64 size);

/// What the ops of a run made: forward values, choices, and gradients.
class Trace {
 public:
  /// Fills a trace while it lives.
  class Watch final : public Observer {
   public:
    explicit Watch(Trace& trace) : trace_(trace) {}
    void ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) override;
    void chose(const char* name, const Tensor& scores, const Tensor& indices) override;
    void rule_begins(const Node& node, std::span<const Tensor> dys) override;
    void rule_ended(const Node& node, std::span<const Tensor> dys, const SmallList<Tensor, 3>* dxs) override;

   private:
    Trace& trace_;
    std::map<u64, std::string> layers_;  // of recorded nodes, by serial
    int rules_ = 0;                      // that run now
  };

  struct Event {
    enum class Kind { op, choice, gradient } kind;
    std::string text, layer;
    std::vector<Tensor> made, read;  // outputs and inputs; of a choice indices and scores; of a rule dxs and dys
  };
  struct Found {
    std::string op, layer;
  };
  /// The first event of forward that moved before the cut; empty if there is none.
  Found first_change(const Trace& other, const Prefix& prefix) const;
  /// The first rule that gave a gradient to positions after the cut, or whose gradients before it moved.
  Found first_gradient_after(const Prefix& prefix) const;
  Found first_gradient_change(const Trace& other, const Prefix& prefix) const;

 private:
  Found named(std::size_t i) const;
  bool moved(const Trace& other, std::size_t i, const Prefix& prefix) const;
  std::size_t origin(const Trace& other, std::size_t i, const Prefix& prefix) const;
  std::vector<Event> events_;
  std::map<const TensorBody*, std::size_t> maker_;  // event that made a tensor
};

}  // namespace moegrad
