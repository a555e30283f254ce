// One mixture-of-experts layer, its dispatch done in five ways. They are the same function, with the same gradients; what
// they cost differs. Letters: G groups, N tokens, D width, E experts, C capacity, P = E C slots.
#pragma once
#include "nn/moegrad.h"

namespace moegrad::examples {

/// y of a layer for x [G, N, D]; its router gives every expert C slots.
using Dispatch = Tensor (*)(const MoE& moe, const Tensor& x, Context& context);

/// Every expert computes every token; what it was not sent is multiplied by 0. No slots, E / K times the work.
inline Tensor all_experts(const MoE& moe, const Tensor& x, Context& context) {
  const Routing r = moe.route(x, context);
  const i64 G = x.dim(0), N = x.dim(1), D = x.dim(2), E = r.experts;
  const Tensor weight = dense(sum(reshape(r.combine, {G, E, r.slots_per_expert(), N}), 2));  // [G, E, N]
  Routing whole{.dispatch = zeros({G, E * N, 1}, x.dtype()), .experts = E};                  // only its shape counts
  const Tensor every = reshape(expand(unsqueeze(x, 1), {G, E, N, D}), {G, E * N, D});
  const Tensor out = moe.experts->forward(every, whole, context);
  return einsum("gen,gend->gnd", weight, reshape(out, {G, E, N, out.dim(-1)}));
}

/// The paper's equations with one-hot tensors of ones and zeros: [G, P, N] numbers, most of them 0.
inline Tensor dense_one_hot(const MoE& moe, const Tensor& x, Context& context) {
  const Routing r = moe.route(x, context);
  Routing stored = r;
  stored.dispatch = cast(dense(r.dispatch), x.dtype());
  stored.combine = dense(r.combine);
  return moe.process(x, stored, context);
}

/// The same equations with structured one-hots: gathers and scatters.
inline Tensor structured(const MoE& moe, const Tensor& x, Context& context) { return moe.forward(x, context); }

/// Slots in use, of all groups together, sorted by expert: one product of uneven groups per weight, no empty slots.
inline Tensor sorted_and_grouped(const MoE& moe, const Tensor& x, Context& context) {
  const Routing r = moe.route(x, context);
  const i64 G = x.dim(0), N = x.dim(1), P = r.token.dim(1), C = r.slots_per_expert();
  const Tensor none = scalar(-1, DType::i64), used = ge(r.token, scalar(0, DType::i64));  // [G, P]
  const Tensor expert = floor_divide(arange(0, static_cast<double>(P)), scalar(static_cast<double>(C), DType::i64));
  const Slots slots = sorted_slots(reshape(where(used, expert, none), {G * P, 1}), r.experts);
  const Tensor first = unsqueeze(arange(0, static_cast<double>(G)), 1) * scalar(static_cast<double>(N), DType::i64);
  const Tensor token = take_along(reshape(where(used, r.token + first, none), {1, G * P}), 1, slots.row);
  const Tensor gate = take_along(reshape(dense(sum(r.combine, 2)), {1, G * P}), 1, slots.row);
  const Tensor empty_too = where(lt(slots.row, scalar(0, DType::i64)), none, token);
  Routing grouped{.dispatch = one_hot(empty_too, G * N), .begin = slots.begin, .experts = r.experts};
  grouped.combine = unsqueeze(gate, -1) * grouped.dispatch;
  return moe.process(x, grouped, context);
}

/// The structured way, of which nothing is kept for the backward pass: it runs twice.
inline Tensor recomputed(const MoE& moe, const Tensor& x, Context& context) {
  return checkpoint([&moe](const Tensor& in, Context& c) { return moe.forward(in, c); }, x, context);
}

struct NamedDispatch {
  const char* name;
  Dispatch run;
};
inline constexpr NamedDispatch kDispatches[] = {{"all experts", all_experts},
                                                {"dense one-hot", dense_one_hot},
                                                {"structured one-hot", structured},
                                                {"sorted and grouped", sorted_and_grouped},
                                                {"recomputed", recomputed}};

}  // namespace moegrad::examples
