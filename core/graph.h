// A GPU graph: what a function asks of the GPU, recorded once, then done again and again by one call each.
#pragma once
#include <functional>
#include <memory>

#include "core/fwd.h"

namespace moegrad {
namespace cuda {
struct Captured;  // cuda/graph.cpp
}

/// A recorded step. Replays cost the host one call, however many kernels there are, and repeat the step on the values
/// that its tensors have by then:
///   Graph graph = Graph::capture(step);     // recorded, not done
///   for (..) { batches.next(batch);  optimizer.set_lr(schedule.lr(i));  graph.replay(); }
/// Copies of a Graph are the same graph.
class Graph {
 public:
  /// Waits for the GPU, then calls `step` once and records, in place of doing it, what it asks of the GPU.
  ///   May       ops, backward, clip_grad_norm, Optimizer::step and zero_grad, dropout and router noise. Random::advance
  ///             changes the stream's step in place from then on, so that every replay draws other numbers
  ///   May not   read values (item, to_vector, print), copy from the host (from_vector, to), call ops that say
  ///             "synchronises" on their card, set_lr: Error names them. Nothing is recorded then, and the GPU goes on as
  ///             if there had been no capture
  ///   Fixed     what host code decides, and every number that it hands over (a momentum, a probability). What is to
  ///             change lies in tensors, made before and written between replays
  ///   Memory    tensors from before that the step works on must live as long as the graph. Those made in the step and
  ///             kept (a loss) have no values before the first replay, then those of the latest. The graph keeps the
  ///             memory for all others between replays. Gradients are accumulated as at the time of the capture: end
  ///             the step with zero_grad
  ///   Threads   no other thread may use the GPU meanwhile
  ///   Errors    DeviceError: no GPU can be used.  Error: as above, or within another capture.  What `step` throws
  static Graph capture(const std::function<void()>& step);
  /// Does the step, behind all that was asked for before; does not wait for it.
  void replay() const;
  /// Kernels and copies of the step.
  i64 nodes() const;

 private:
  explicit Graph(std::shared_ptr<cuda::Captured> captured) : captured_(std::move(captured)) {}
  std::shared_ptr<cuda::Captured> captured_;
};

// What a graph is on a GPU; called only by core/graph.cpp.
namespace cuda {
std::shared_ptr<Captured> capture(const std::function<void()>& step);
void replay(const Captured& captured);
i64 nodes(const Captured& captured);
}  // namespace cuda

}  // namespace moegrad
