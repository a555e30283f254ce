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

Routing TopKRouter::route(const Tensor& x_any, const Tensor& mask, Context& context) const {
  const bool dropless = options.capacity_factor == 0;
  const Tensor x = dropless ? reshape(x_any, {1, x_any.dim(0) * x_any.dim(1), x_any.dim(2)}) : x_any;
  const i64 groups = x.dim(0), tokens = x.dim(1), E = options.experts, K = options.k;

  // Small differences decide, so bf16 is widened here; gates are rounded where they meet values.
  const Tensor logits = linear(widen(x), widen(gate.weight), {});  // [G, N, E]
  const Tensor probabilities = softmax(logits, -1);
  Tensor chosen = top_k(probabilities, K, -1).indices;   // [G, N, K]
  Tensor gates = take_along(probabilities, -1, chosen);  // [G, N, K]
  if (options.renormalize) gates = gates / sum(gates, -1, keep_dims);
  if (mask) chosen = where(reshape(mask, {groups, tokens, 1}), chosen, scalar(-1, DType::i64));

  const Slots slots = dropless ? sorted_slots(chosen[0], E) : capacity_slots(chosen, E, capacity_of(options, tokens));
  Routing r = tokens_choose(gates, chosen, slots, E, x.dtype());
  r.logits = logits;
  r.probabilities = probabilities;
  context.add_loss("load_balancing", load_balancing_loss(probabilities, chosen));
  context.add_loss("router_z", router_z_loss(logits));
  context.record("load", r.load);
  context.record("dropped", sum(r.dropped));
  return r;
}

}  // namespace moegrad
