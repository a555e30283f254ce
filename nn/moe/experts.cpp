#include "nn/moe/experts.h"

#include <fmt/format.h>

#include <cmath>

#include "ops/ops.h"

namespace moegrad {
namespace {

// Slots as the products read them: [P, D] and the first slot of every expert, or [G, E, C, D].
struct SlotBatch {
  Tensor begin, expert_of_slot;  // dropless only

  Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b) const {
    const Tensor y = begin ? grouped_matmul(x, w, begin) : einsum("gecd,edf->gecf", x, w);
    if (!b) return y;
    return y + (begin ? index_select(b, 0, expert_of_slot) : unsqueeze(b, 1));  // [P, F], or [E, 1, F]
  }
};

// The expert of every slot; -1 where the slot is empty.
Tensor expert_of_slots(const Routing& r) {
  const Tensor slot = arange(0, static_cast<double>(r.dispatch.dim(1)));  // [P]
  const Tensor later =
      sum(ge(unsqueeze(slot, 1), unsqueeze(slice(r.begin, 0, {1, kEnd}), 0)), -1);  // experts that end at or before it
  return later - cast(eq(later, scalar(static_cast<double>(r.experts), DType::i64)), DType::i64) *
                     scalar(static_cast<double>(r.experts) + 1, DType::i64);
}

}  // namespace

FeedForwardExperts::FeedForwardExperts(i64 width, Options o, Init& init) : options(o) {
  if (o.experts < 1) throw Error(fmt::format("FeedForwardExperts: experts must be >= 1; got {}", o.experts));
  const i64 E = o.experts, F = o.hidden > 0 ? o.hidden : 4 * width;
  const double gain = Linear::Options{}.gain;
  const auto bias = [&](i64 n, i64 in) {
    return o.bias
               ? init.uniform({E, n}, -1 / std::sqrt(static_cast<double>(in)), 1 / std::sqrt(static_cast<double>(in)))
               : Tensor{};
  };
  w1 = init.kaiming_uniform({E, width, F}, width, gain);
  b1 = bias(F, width);
  w2 = init.kaiming_uniform({E, F, width}, F, gain * o.output_gain);
  b2 = bias(width, F);
  if (!is_gated(o.activation)) return;
  w3 = init.kaiming_uniform({E, width, F}, width, gain);
  b3 = bias(F, width);
}

Tensor FeedForwardExperts::forward(const Tensor& slots, const Routing& r) const {
  const i64 groups = slots.dim(0), P = slots.dim(1), D = slots.dim(2);
  const SlotBatch batch{r.begin, r.begin && options.bias ? expert_of_slots(r) : Tensor{}};
  const Tensor x = r.begin ? slots[0] : reshape(slots, {groups, r.experts, P / r.experts, D});
  const Tensor h1 = batch.linear(x, w1, b1);
  const Tensor h = w3 ? apply(options.activation, h1, batch.linear(x, w3, b3)) : apply(options.activation, h1);
  return reshape(batch.linear(h, w2, b2), {groups, P, w2.dim(2)});
}

void FeedForwardExperts::members(Members& m) {
  const Stack weight{.active = options.active, .transposed = true}, bias{.active = options.active};
  m.stack("{}.w1.weight", w1, weight);
  m.stack("{}.w1.bias", b1, bias);
  m.stack("{}.w2.weight", w2, weight);
  m.stack("{}.w2.bias", b2, bias);
  m.stack("{}.w3.weight", w3, weight);
  m.stack("{}.w3.bias", b3, bias);
}

}  // namespace moegrad
