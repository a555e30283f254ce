#include "nn/moe/routing.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

Tensor used(const Tensor& token) { return ge(token, scalar_like(0, token)); }

}  // namespace

Routing tokens_choose(const Tensor& gates, const Tensor& chosen, const Slots& slots, i64 experts, DType dtype) {
  const i64 G = chosen.dim(0), N = chosen.dim(1), K = chosen.dim(2);
  Routing r{.begin = slots.begin, .experts = experts, .chosen = chosen, .gates = gates, .token = slots.token};
  r.dispatch = one_hot(slots.token, N);                                            // [G, P, N]
  const Tensor slot_gates = take_along(reshape(gates, {G, N * K}), 1, slots.row);  // [G, P], 0 where empty
  r.combine = unsqueeze(cast(slot_gates, dtype), -1) * r.dispatch;

  const Tensor kept = dense(sum(one_hot(slots.token, N), 1));  // i64 [G, N]
  r.dropped = sum(used(chosen), -1) - kept;
  r.load = slots.begin ? slice(slots.begin, 0, {1, kEnd}) - slice(slots.begin, 0, {0, experts})
                       : sum(used(reshape(slots.token, {G, experts, slots.token.dim(1) / experts})), {0, 2});
  return r;
}

Routing experts_choose(const Tensor& gates, const Tensor& picked, i64 tokens, DType dtype) {
  const i64 G = picked.dim(0), E = picked.dim(1), C = picked.dim(2);
  Routing r{.experts = E, .gates = gates, .token = reshape(picked, {G, E * C})};
  r.dispatch = one_hot(r.token, tokens);  // [G, P, N]
  r.combine = unsqueeze(cast(reshape(gates, {G, E * C}), dtype), -1) * r.dispatch;
  r.load = sum(used(picked), {0, 2});
  const Tensor picks = dense(sum(one_hot(r.token, tokens), 1));  // [G, N]
  r.dropped = cast(eq(picks, scalar_like(0, picks)), DType::i64);
  return r;
}

void check_expert_count(const char* who, i64 experts, const Routing& r) {
  if (experts != r.experts)
    throw ShapeError(fmt::format("{}: the routing must have as many experts; got {} experts and a routing of {}", who,
                                 experts, r.experts));
}

}  // namespace moegrad
