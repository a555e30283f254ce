// Where a training run is in its data.
#pragma once
#include "core/fwd.h"

namespace moegrad {

/// What all loaders with random batches share. Batch i is a function of (seed, i) alone: no order is kept, so none can
/// be lost, and a run that goes on needs these two numbers.
class BatchOrder {
 public:
  u64 seed() const { return seed_; }
  /// Batches handed out.
  i64 position() const { return position_; }
  void restore(u64 seed, i64 position) { seed_ = seed, position_ = position; }

 protected:
  explicit BatchOrder(u64 seed) : seed_(seed) {}
  u64 seed_;
  i64 position_ = 0;
};

}  // namespace moegrad
