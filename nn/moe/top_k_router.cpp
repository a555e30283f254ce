#include "nn/moe/top_k_router.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/moe/losses.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

const TopKRouter::Options& checked(const TopKRouter::Options& o) {
  if (o.experts < 1 || o.k < 1 || o.k > o.experts)
    throw Error(fmt::format("TopKRouter: k must be in [1, experts]; got k = {}, experts = {}", o.k, o.experts));
  if (!(o.capacity_factor >= 0) || !std::isfinite(o.capacity_factor))
    throw Error(fmt::format("TopKRouter: capacity_factor must be >= 0 (0: dropless); got {}", o.capacity_factor));
  return o;
}

i64 capacity_of(const TopKRouter::Options& o, i64 tokens) {
  return static_cast<i64>(
      std::ceil(o.capacity_factor * static_cast<double>(tokens * o.k) / static_cast<double>(o.experts)));
}

}  // namespace

TopKRouter::TopKRouter(i64 width, Options o, Init& init)
    : options(checked(o)), gate(width, o.experts, init, {.bias = false}) {}

void TopKRouter::members(Members& m) { m.child("gate", gate); }

Routing TopKRouter::route(const Tensor& x_any, Context& context) const {
  const bool dropless = options.capacity_factor == 0;
  const Tensor x = dropless ? reshape(x_any, {1, x_any.dim(0) * x_any.dim(1), x_any.dim(2)}) : x_any;
  const i64 groups = x.dim(0), tokens = x.dim(1), E = options.experts, K = options.k;

  // Small differences decide, so bf16 is widened here; gates are rounded where they meet values.
  const Tensor logits = linear(widen(x), widen(gate.weight), {});  // [G, N, E]
  Routing r{.experts = E, .probabilities = softmax(logits, -1)};
  r.chosen = top_k(r.probabilities, K, -1).indices;          // [G, N, K]
  Tensor gates = take_along(r.probabilities, -1, r.chosen);  // [G, N, K]
  if (options.renormalize) gates = gates / sum(gates, -1, keep_dims);

  const Slots slots =
      dropless ? sorted_slots(r.chosen[0], E) : capacity_slots(r.chosen, E, capacity_of(options, tokens));
  r.begin = slots.begin;
  r.dispatch = one_hot(slots.token, tokens);                                                 // [G, P, N]
  const Tensor slot_gates = take_along(reshape(gates, {groups, tokens * K}), 1, slots.row);  // [G, P], 0 where empty
  r.combine = unsqueeze(cast(slot_gates, x.dtype()), -1) * r.dispatch;

  const Tensor wanted = sum(one_hot(r.chosen, E), {0, 1, 2});  // i64 [E]
  r.load = dropless ? wanted
                    : sum(ge(reshape(slots.token, {groups, E, slots.token.dim(1) / E}), scalar(0, DType::i64)), {0, 2});
  context.add_loss("load_balancing", load_balancing_loss(r.probabilities, r.chosen));
  context.add_loss("router_z", router_z_loss(logits));
  context.record("load", r.load);
  context.record("dropped", sum(wanted) - sum(r.load));
  return r;
}

}  // namespace moegrad
