#include "nn/moe/expert_choice_router.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

using Options = ExpertChoiceRouter::Options;

const Options& checked(const Options& o) {
  if (o.experts < 1) throw Error(fmt::format("ExpertChoiceRouter: experts must be >= 1; got {}", o.experts));
  checked("ExpertChoiceRouter", o.capacity);
  if (o.noise.kind == RouterNoiseKind::simple)
    throw Error("ExpertChoiceRouter: noise must not be simple; experts pick C tokens as they are");
  if (o.losses.load_balancing || o.losses.load)
    throw Error("ExpertChoiceRouter: losses must not have load_balancing or load; experts have equal loads");
  if (o.losses.balance_entropy && o.gates != ChoiceGates::over_experts)
    throw Error("ExpertChoiceRouter: the loss balance_entropy needs gates over experts");
  return o;
}

// softmax along the last axis over the entries that are there; 0 at the others, also where none is.
Tensor softmax_where(const Tensor& x, const Tensor& there) {
  if (x.size() == 0) return x;
  if (!there) return softmax(x, -1);
  const Tensor away = logical_not(there);
  return masked_fill(softmax(masked_fill(x, away, lowest_score(x)), -1), away, 0);
}

// The gates of picked tokens [G, E, C], from the scores of all [G, E, N]; 0 in empty slots.
Tensor gates_of(ChoiceGates kind, const Tensor& scores, const Tensor& probabilities, const Tensor& picked) {
  if (probabilities) return take_along(probabilities, 2, picked);
  const Tensor logits = take_along(scores, 2, picked);  // 0 in empty slots
  if (kind == ChoiceGates::logits) return logits;
  const Tensor used = ge(picked, scalar_like(0, picked));
  return kind == ChoiceGates::over_picked ? softmax_where(logits, used)
                                          : masked_fill(sigmoid(logits), logical_not(used), 0);
}

}  // namespace

ExpertChoiceRouter::ExpertChoiceRouter(i64 width, Options o, Init& init)
    : options(checked(o)), gate(width, o.experts, o.gate, init), noise(width, o.experts, o.noise, init) {}

void ExpertChoiceRouter::members(Members& m) {
  m.child("", gate);
  m.child("noise", noise);
}

// The tokens [G, E, C] that experts pick; -1 where there is none left. affinity [G, E, N], mask [G, 1, N].
Tensor ExpertChoiceRouter::pick(const Tensor& affinity, const Tensor& mask) const {
  const i64 tokens = affinity.dim(2), C = std::min(tokens, options.capacity.of(tokens, 1, options.experts));
  const Tensor none = scalar(-1, DType::i64, affinity.device());
  Tensor picked =
      top_k(mask ? masked_fill(affinity, logical_not(mask), lowest_score(affinity)) : affinity, C, -1).indices;
  if (mask) picked = where(take_along(mask, 2, picked), picked, none);
  if (!options.in_order) return picked;
  const Tensor empty_ones = arange(static_cast<double>(tokens), static_cast<double>(tokens + C), 1, DType::i64,
                                   picked.device());  // behind all, no ties
  const Tensor key = where(lt(picked, scalar_like(0, picked)), empty_ones, picked);
  return take_along(picked, 2, argsort(key, -1));
}

// scores [G, E, N] with noise, if there is any.
Tensor ExpertChoiceRouter::with_noise(const Tensor& input, const Tensor& scores, Context& context) const {
  const RouterNoiseKind kind = options.noise.kind;
  const bool noisy = kind == RouterNoiseKind::gumbel || kind == RouterNoiseKind::gaussian;
  if (!noisy || !context.training || scores.size() == 0) return scores;
  Tensor deviation = noise.deviation(input, context);
  if (deviation) deviation = swap_axes(deviation, 1, 2);
  return noise.logits(scores, deviation, context);
}

Routing ExpertChoiceRouter::route(const Tensor& x, const Tensor& mask, Context& context) const {
  check_router_input("ExpertChoiceRouter", x, gate.width(), mask);
  const ChoiceGates kind = options.gates;
  const Tensor input = noise.input(widen(x), context);
  const Tensor logits = gate.forward(input);                                  // [G, N, E]
  const Tensor scores = with_noise(input, swap_axes(logits, 1, 2), context);  // [G, E, N]
  const Tensor tokens = mask ? unsqueeze(mask, 1) : Tensor{};                 // [G, 1, N]

  Tensor probabilities;  // [G, E, N]
  if (kind == ChoiceGates::over_experts) probabilities = softmax(scores, 1);
  if (kind == ChoiceGates::over_tokens) probabilities = softmax_where(scores, tokens);
  const Tensor picked = pick(kind == ChoiceGates::over_experts ? probabilities : scores, tokens);  // [G, E, C]
  const Tensor gates = gates_of(kind, scores, probabilities, picked);

  Routing r = experts_choose(gates, picked, x.dim(1), x.dtype());
  r.logits = logits;
  if (probabilities) r.probabilities = swap_axes(probabilities, 1, 2);
  if (mask) r.dropped = where(mask, r.dropped, scalar_like(0, r.dropped));
  options.losses.add(context, r, {.importance = options.losses.importance ? sum(gates, {0, 2}) : Tensor{}}, mask);
  context.record("load", r.load);
  context.record("dropped", sum(r.dropped));
  return r;
}

}  // namespace moegrad
