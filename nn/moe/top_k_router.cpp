#include "nn/moe/top_k_router.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

const TopKRouter::Options& checked(const TopKRouter::Options& o) {
  if (o.experts < 1 || o.k < 1 || o.k > o.experts)
    throw Error(fmt::format("TopKRouter: k must be in [1, experts]; got k = {}, experts = {}", o.k, o.experts));
  checked("TopKRouter", o.capacity);
  return o;
}

}  // namespace

TopKRouter::TopKRouter(i64 width, Options o, Init& init)
    : options(checked(o)), gate(width, o.experts, o.gate, init), noise(width, o.experts, o.noise, init) {}

void TopKRouter::members(Members& m) {
  m.child("", gate);
  m.child("noise", noise);
}

Routing TopKRouter::route(const Tensor& x_any, const Tensor& mask_any, Context& context) const {
  check_router_input("TopKRouter", x_any, gate.width(), mask_any);
  const Tensor x = widen(dropless() ? reshape(x_any, {1, x_any.dim(0) * x_any.dim(1), x_any.dim(2)}) : x_any);
  const Tensor mask = mask_any ? reshape(mask_any, {x.dim(0), x.dim(1)}) : Tensor{};

  const Tensor input = noise.input(x, context);
  const Tensor logits = gate.forward(input);  // [G, N, E]
  const NoisyScores scores = noise.forward(input, logits, options.k, context);
  const bool subset = context.training && options.noise.kind == RouterNoiseKind::simple;
  Tensor chosen = top_k(subset ? scores.probabilities : scores.logits, options.k, -1).indices;  // [G, N, K]
  Tensor gates = take_along(scores.probabilities, -1, chosen);                                  // [G, N, K]
  const Tensor best = gates;
  if (options.renormalize) gates = gates / sum(gates, -1, keep_dims);
  if (mask) chosen = where(unsqueeze(mask, -1), chosen, scalar_like(-1, chosen));

  Routing r = tokens_choose(gates, chosen, slots_of(chosen, best, context), options.experts, x_any.dtype());
  r.logits = logits;
  r.probabilities = subset ? scores.probabilities / static_cast<double>(options.k) : scores.probabilities;
  report(r, gates, scores, mask, context);
  return r;
}

Slots TopKRouter::slots_of(const Tensor& chosen, const Tensor& scores, Context& context) const {
  if (dropless()) return sorted_slots(chosen[0], options.experts);
  const i64 capacity = options.capacity.of(chosen.dim(1), options.k, options.experts);
  return ordered_capacity_slots(chosen, service_order(options.priority, scores, context), options.experts, capacity);
}

void TopKRouter::report(const Routing& r, const Tensor& gates, const NoisyScores& scores, const Tensor& mask,
                        Context& context) const {
  ExpertUse use;
  if (options.losses.importance) use.importance = importance(gates, r.chosen, options.experts);
  if (options.losses.load && scores.deviation) use.load = sum(noisy_top_k_load(r.logits, scores, options.k, mask), 0);
  options.losses.add(context, r, use, mask);
  context.record("load", r.load);
  context.record("dropped", sum(r.dropped));
}

}  // namespace moegrad
