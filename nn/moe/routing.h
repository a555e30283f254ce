// What every sparse or soft mixture has in common: a routing is a list of slots.
#pragma once
#include "nn/context.h"
#include "nn/module.h"
#include "ops/slots.h"

namespace moegrad {

/// Which token each slot holds, and with which weight the slots of a token are added up. Letters: G routing groups, N
/// tokens of a group, P slots of a group, E experts, C capacity, K experts per token.
///   slots = einsum("gpn,gnd->gpd", dispatch, x);  y = einsum("gpn,gpd->gnd", combine, experts(slots))
/// Slots are sorted by expert: with C = P / E slots each, slot e C + c is slot c of expert e; dropless (G = 1), expert e
/// has the slots begin[e] .. begin[e + 1] - 1.
struct Routing {
  Tensor dispatch;  ///< [G, P, N]
  Tensor combine;   ///< [G, P, N]; carries the gradient of the gates
  Tensor begin;     ///< dropless: i64 [E + 1]. An empty handle where every expert has C slots
  i64 experts = 0;

  // for inspection and losses; an empty handle where a router has no such thing
  Tensor logits;         ///< [G, N, E], of soft routers [G, N, E, C]; f32 or wider, with a gradient
  Tensor probabilities;  ///< [G, N, E], f32 or wider, with a gradient
  Tensor chosen;         ///< i64 [G, N, K]: experts that each token chose, best first; -1: none
  Tensor gates;          ///< f32 or wider, with a gradient: of each choice [G, N, K], or of each pick [G, E, C]
  Tensor token;          ///< i64 [G, P]: the token in each slot; -1: empty
  Tensor load;           ///< i64 [E]: slots in use
  Tensor dropped;        ///< i64 [G, N]: choices of a token that found no slot; expert choice: 1 if nobody chose it

  bool dropless() const { return static_cast<bool>(begin); }
  i64 slots_per_expert() const { return dispatch.dim(1) / experts; }  ///< C; not for dropless
};

/// Decides which tokens go where.
struct Router : Module {
  /// x [G, N, D], mask bool [G, N] or an empty handle (every row is a token) -> a routing of its G N tokens. Auxiliary
  /// losses and statistics go to the context. Masked tokens are in no slot, no load and no loss.
  virtual Routing route(const Tensor& x, const Tensor& mask, Context& context) const = 0;
};

/// Tokens chose experts, and `slots` says which choices found a place: dispatch is the one-hot of the slots' tokens,
/// combine the same times the gate of each slot's choice; chosen, token, load and dropped are filled in.
///   Shapes   gates [G, N, K] with a gradient, chosen i64 [G, N, K] with -1 = none
///   Dtypes   combine is rounded to `dtype`, that of the values
Routing tokens_choose(const Tensor& gates, const Tensor& chosen, const Slots& slots, i64 experts, DType dtype);

/// Experts chose tokens: slot c of expert e holds token picked[g, e, c] with gate gates[g, e, c].
///   Shapes   gates [G, E, C] with a gradient, picked i64 [G, E, C] in [-1, tokens), -1 = an empty slot
Routing experts_choose(const Tensor& gates, const Tensor& picked, i64 tokens, DType dtype);

/// Throws ShapeError, by the name of `who`: its experts are not as many as the routing's.
void check_expert_count(const char* who, i64 experts, const Routing& routing);

}  // namespace moegrad
