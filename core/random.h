// Streams of random draws. A draw is named by (seed, step, draw number), never by hidden state: the same numbers come
// out for any number of threads and on any device, a resumed run continues where it stopped, and a recomputation
// repeats a draw by its name.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// The name of one draw; kernels read the step from its tensor, so that a captured GPU graph advances with it.
struct Draw {
  u64 seed = 0;
  u32 number = 0;
  Tensor step;  ///< i64 [], on the device that draws
};

/// A stream: hands out draw 0, 1, 2, .. of a step; `advance` begins the next step.
class Random {
 public:
  explicit Random(u64 seed, Device device = default_device());
  Random(const Random& other);
  Random& operator=(const Random& other);
  Draw next() { return {seed_, drawn_++, step_}; }
  /// The next step. Draws of earlier ones stay as they are; but from the first time that this is captured in a graph
  /// (core/graph.h), they change with it, and so do copies made earlier.
  void advance();

  u64 seed() const { return seed_; }
  i64 step() const { return static_cast<i64>(step_.item()); }
  /// Draws handed out in this step.
  u32 drawn() const { return drawn_; }
  /// Continues a stream: what seed, step and drawn said when it was saved. Throws Error: step outside [0, 2^32).
  void restore(u64 seed, i64 step, u32 drawn);

 private:
  u64 seed_;
  u32 drawn_ = 0;
  bool in_graph_ = false;  // a graph reads and writes the step where it is
  Tensor step_;
};

}  // namespace moegrad
