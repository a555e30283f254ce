// Slots as the products of batched experts read them.
#pragma once
#include "nn/moe/routing.h"

namespace moegrad {

/// The slots of a routing by expert: [E, G C, D], so that a weight is one product for all groups, or the rows [P, D] of a
/// dropless one.
class SlotBatch {
 public:
  /// needs_rows: a row per expert (a bias) will be added to dropless slots.
  SlotBatch(const Routing& routing, bool needs_rows);
  Tensor split(const Tensor& slots) const;  ///< [G, P, D] -> the form above
  Tensor join(const Tensor& y) const;       ///< back to [G, P, D]

  /// x w_e + b_e: w [E, D, F], b [E, F] or an empty handle.
  Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b) const;
  /// The row of its expert for every slot: [E, F] -> a shape that broadcasts against slots in the form above.
  Tensor per_slot(const Tensor& rows) const;

 private:
  Tensor begin_, expert_;  // dropless only; expert_: i64 [P], -1 where a slot is empty
  i64 groups_, slots_, experts_;
};

}  // namespace moegrad
