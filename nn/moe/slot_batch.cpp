#include "nn/moe/slot_batch.h"

#include "ops/ops.h"

namespace moegrad {
namespace {

// The expert of every slot of a dropless routing; -1 where the slot is empty.
Tensor expert_of_slots(const Routing& r) {
  const Tensor slot = arange(0, static_cast<double>(r.dispatch.dim(1)), 1, DType::i64, r.begin.device());  // [P]
  const Tensor later =
      sum(ge(unsqueeze(slot, 1), unsqueeze(slice(r.begin, 0, {1, kEnd}), 0)), -1);  // experts that end at or before it
  return where(eq(later, scalar_like(static_cast<double>(r.experts), later)), scalar_like(-1, later), later);
}

}  // namespace

SlotBatch::SlotBatch(const Routing& r, bool needs_rows)
    : begin_(r.begin),
      expert_(r.begin && needs_rows ? expert_of_slots(r) : Tensor{}),
      groups_(r.dispatch.dim(0)),
      slots_(r.dispatch.dim(1)),
      experts_(r.experts) {}

Tensor SlotBatch::split(const Tensor& slots) const {
  if (begin_) return slots[0];
  const i64 C = slots_ / experts_, D = slots.dim(-1);
  return reshape(swap_axes(reshape(slots, {groups_, experts_, C, D}), 0, 1), {experts_, groups_ * C, D});
}

Tensor SlotBatch::join(const Tensor& y) const {
  const i64 D = y.dim(-1);
  if (begin_) return reshape(y, {groups_, slots_, D});
  return reshape(swap_axes(reshape(y, {experts_, groups_, slots_ / experts_, D}), 0, 1), {groups_, slots_, D});
}

Tensor SlotBatch::linear(const Tensor& x, const Tensor& w, const Tensor& b) const {
  const Tensor y = begin_ ? grouped_matmul(x, w, begin_) : matmul(x, w);
  return b ? y + per_slot(b) : y;
}

Tensor SlotBatch::per_slot(const Tensor& rows) const {
  return begin_ ? index_select(rows, 0, expert_) : unsqueeze(rows, 1);  // [P, F], or [E, 1, F]
}

}  // namespace moegrad
