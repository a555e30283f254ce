// What every sparse or soft mixture has in common: a routing is a list of slots.
#pragma once
#include "nn/context.h"
#include "nn/module.h"

namespace moegrad {

/// Which token each slot holds, and with which weight the slots of a token are added up. Letters: G routing groups, N
/// tokens of a group, P slots of a group, E experts, C capacity, K experts per token.
///   slots = einsum("gpn,gnd->gpd", dispatch, x);  y = einsum("gpn,gpd->gnd", combine, experts(slots))
struct Routing {
  Tensor dispatch;  ///< [G, P, N]
  Tensor combine;   ///< [G, P, N]; carries the gradient of the gates
  Tensor begin;  ///< dropless: i64 [E + 1], first slot of every expert (G = 1). Empty where every expert has C = P / E
                 ///< slots
  i64 experts = 0;

  // for inspection and losses
  Tensor probabilities;  ///< [G, N, E], float, with a gradient
  Tensor chosen;         ///< i64 [G, N, K], best first
  Tensor load;           ///< i64 [E]: slots in use
};

/// Decides which tokens go where.
struct Router : Module {
  /// x [G, N, D] -> a routing of its G N tokens. Auxiliary losses and statistics go to the context.
  virtual Routing route(const Tensor& x, Context& context) const = 0;
};

}  // namespace moegrad
