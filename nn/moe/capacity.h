// How many slots an expert has, and who gets them.
#pragma once
#include "nn/context.h"
#include "ops/slots.h"

namespace moegrad {

/// Slots of one expert, for groups of N tokens with K choices each.
struct Capacity {
  enum class Rule {
    choices,  ///< ceil(factor N K / E): at factor 1 all choices fit if they are spread evenly. GShard, Switch
    tokens,   ///< floor(factor N / E), whatever K is: pytorch-mixtures, and the code of ST-MoE
  };
  double factor = 0;
  Rule rule = Rule::choices;
  i64 least = 0;  ///< no fewer slots than these
  i64 slots = 0;  ///< so many slots, whatever the factor says; 0: what the factor says

  /// Errors  ShapeError: more than 2^40 slots
  i64 of(i64 tokens, i64 choices, i64 experts) const;
};
/// Throws Error, by the name of `who`: the factor is negative or not finite, or least or slots are negative.
const Capacity& checked(const char* who, const Capacity& capacity);

/// Whose choices get the slots of an expert that too many chose. First choices always come before second ones.
enum class Priority {
  first_come,  ///< tokens in their order: causal
  best_gate,   ///< the token with the larger best probability first, of equal ones the first
  random,      ///< tokens in a random order, drawn for each group; in evaluation first_come
};

/// The order in which the tokens of a group are served, i64 [G, N]; an empty handle where it is their own.
///   Shapes    scores [G, N, K]: `best_gate` goes by the largest of a token
///   Draws     random: uniform [G, N]
///   Gradient  none
///   Source    best_gate: Scaling vision with sparse mixture of experts (2021), arXiv:2106.05974, algorithm 2.
///             random: the order of arXiv:2006.16668 (GShard) made independent of positions
Tensor service_order(Priority priority, const Tensor& scores, Context& context);

/// capacity_slots (ops/slots.h) with tokens served in this order.
///   Shapes    chosen i64 [G, N, K], order i64 [G, N] or an empty handle -> slots of [G, experts capacity]
Slots ordered_capacity_slots(const Tensor& chosen, const Tensor& order, i64 experts, i64 capacity);

}  // namespace moegrad
