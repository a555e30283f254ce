#include "nn/moe/st_moe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/choose.h"
#include "nn/moe/losses.h"
#include "nn/moe/quiet_routers.h"
#include "nn/moe/router_gate.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

constexpr double kLeast = 1e-9;  // of a sum of gates and of a threshold

void check_rule(bool ok, const std::string& text) {
  if (!ok) throw Error("StMoE: " + text);
}

StMoERouter::Options checked(StMoERouter::Options o) {
  check_rule(o.top_n >= 2 && o.top_n <= o.experts,
             fmt::format("top_n must be in [2, experts]; got {} of {} experts", o.top_n, o.experts));
  for (const double f : {o.capacity_factor_train, o.capacity_factor_eval})
    check_rule(f >= 0 && std::isfinite(f), fmt::format("capacity factors must be >= 0; got {}", f));
  check_rule(o.least_capacity >= 1, fmt::format("least_capacity must be >= 1; got {}", o.least_capacity));
  check_rule(o.gate_noise >= 0 && std::isfinite(o.gate_noise),
             fmt::format("gate_noise must be >= 0; got {}", o.gate_noise));
  check_rule(o.topk_ratio >= 1 && std::isfinite(o.topk_ratio),
             fmt::format("topk_ratio must be >= 1; got {}", o.topk_ratio));
  check_options("StMoE", o.descent);
  const auto further = static_cast<std::size_t>(o.top_n - 1);
  for (std::vector<double>* t : {&o.threshold_train, &o.threshold_eval}) {
    if (t->size() == 1) t->resize(further, t->front());
    check_rule(
        t->size() == further && std::all_of(t->begin(), t->end(), [](double v) { return v >= 0; }),
        fmt::format("thresholds must be >= 0, one or top_n - 1 = {} of them; got [{}]", further, fmt::join(*t, ", ")));
  }
  return o;
}

// A buffer [K]; the first choice is always taken.
Tensor thresholds(const std::vector<double>& further, DType dtype) {
  std::vector<double> all{kLeast};
  all.insert(all.end(), further.begin(), further.end());
  return from_vector(all, {static_cast<i64>(all.size())}, dtype);
}

std::unique_ptr<Experts> feed_forward_experts(i64 D, const StMoE::Options& o, Init& init) {
  const i64 E = checked(o.router).experts, F = st_hidden(D, o.hidden_mult);
  check_rule(F >= 1,
             fmt::format("the hidden size, 2/3 hidden_mult width, must be >= 1; got hidden_mult {} and width {}",
                         o.hidden_mult, D));
  FeedForwardExperts::Options f{.experts = E,
                                .hidden = F,
                                .activation = Activation::geglu,
                                .bias = true,
                                .output_bias = true,
                                .gate = FeedForwardExperts::Gate::second,
                                .value_scale = true,
                                .active = o.router.top_n};
  f.names.w1 = "net.0", f.names.w2 = "net.2", f.names.value_scale = "net.1.mult_bias";
  auto experts = std::make_unique<FeedForwardExperts>(D, f, init);
  experts->w1 = st_initial(init, {E, D, 2 * F}, 2 * F);
  experts->b1 = st_initial(init, {E, 2 * F}, 2 * F);
  experts->w2 = st_initial(init, {E, F, D}, D);
  experts->b2 = st_initial(init, {E, D}, D);
  return experts;
}

}  // namespace

// ---- router

StMoERouter::StMoERouter(i64 width, Options o, Init& init)
    : options(checked(std::move(o))),
      to_gates(width, options.experts, init, {.bias = false}),
      threshold_train(thresholds(options.threshold_train, init.dtype())),
      threshold_eval(thresholds(options.threshold_eval, init.dtype())) {}

void StMoERouter::members(Members& m) {
  m.child("to_gates", to_gates);
  m.buffer("threshold_train", threshold_train);
  m.buffer("threshold_eval", threshold_eval);
}

i64 StMoERouter::capacity(i64 tokens, bool training) const {
  const double factor = training ? options.capacity_factor_train : options.capacity_factor_eval;
  const double wanted = static_cast<double>(tokens) * factor / static_cast<double>(options.experts);
  return std::max(static_cast<i64>(std::min(static_cast<double>(tokens), wanted)), options.least_capacity);
}

// Gates of the best, [G, N, K], summing to 1.
Tensor StMoERouter::gates_of(const Tensor& probabilities, const Tensor& best) const {
  const auto K = static_cast<double>(options.top_n), E = static_cast<double>(options.experts);
  const Tensor scores =
      options.differentiable_topk
          ? coordinate_descent(probabilities, std::min(options.topk_ratio * K, E), {}, options.descent)
          : probabilities;
  const Tensor chosen = take_along(scores, -1, best);
  return chosen / clamp(sum(chosen, -1, keep_dims), kLeast, INFINITY);
}

// The choices that are taken; the others become -1.
Tensor StMoERouter::taken(const Tensor& gates, const Tensor& chosen, Context& context) const {
  const i64 G = gates.dim(0), N = gates.dim(1), K = gates.dim(2);
  const Tensor u = permute(router_noise(context, Noise::uniform, {K, G, N}, gates.dtype()), {1, 2, 0});
  const Tensor& buffer = context.training ? threshold_train : threshold_eval;
  const Tensor threshold = clamp(cast(slice(buffer, 0, {1, K}), gates.dtype()), kLeast, INFINITY);  // [K - 1]
  const Range further{1, K};
  const Tensor ahead = slice(gates, -1, further) / threshold - slice(u, -1, further);  // [G, N, K - 1]
  const Tensor yes = choose(
      "second_choices", ahead, [&] { return cast(gt(ahead, scalar_like(0, ahead)), DType::i64); },
      [&](const Tensor&) { return amin(abs(ahead)).item(); });
  const Tensor first = ones({G, N, 1}, DType::i64, gates.device());
  return where(gt(concat({first, yes}, -1), scalar_like(0, first)), chosen, scalar_like(-1, chosen));
}

namespace {

// The first choices that have a slot, i64 [G, N, 1]; -1 for the others.
Tensor kept_first_choices(const Tensor& chosen, const Slots& slots) {
  const i64 G = chosen.dim(0), N = chosen.dim(1), K = chosen.dim(2);
  const Tensor has_slot = reshape(dense(sum(one_hot(slots.row, N * K), 1)), {G, N, K});
  return slice(where(gt(has_slot, scalar_like(0, has_slot)), chosen, scalar_like(-1, chosen)), -1, {0, 1});
}

// dispatch + combine - combine without its gradient, as a one-hot: its scale is 1, and has the gradient of the gate.
Tensor straight_through(const Tensor& gates, const Slots& slots, DType dtype) {
  const i64 G = gates.dim(0), N = gates.dim(1), K = gates.dim(2);
  const Tensor gate = cast(take_along(reshape(gates, {G, N * K}), 1, slots.row), dtype);  // [G, P]
  return unsqueeze((gate - gate.detach()) + 1.0, -1) * one_hot(slots.token, N);
}

}  // namespace

Routing StMoERouter::route(const Tensor& x, const Tensor& mask, Context& context) const {
  check_router_input("StMoE", x, to_gates.weight.dim(1), mask);
  const i64 N = x.dim(1), E = options.experts;
  const Tensor logits = linear(widen(x), widen(to_gates.weight), {});  // [G, N, E]
  Tensor noisy = logits;
  if (options.gate_noise > 0 && (context.training || options.gate_noise_in_evaluation))
    noisy = logits + router_noise(context, Noise::gumbel, logits.shape(), logits.dtype()) * options.gate_noise;
  const Tensor probabilities = softmax(noisy, -1);

  const Tensor best = top_k(probabilities, options.top_n, -1).indices;  // [G, N, K]
  const Tensor gates = gates_of(probabilities, best);
  Tensor chosen = taken(gates, best, context);
  if (mask) chosen = where(unsqueeze(mask, -1), chosen, scalar_like(-1, chosen));

  const Slots slots = capacity_slots(chosen, E, capacity(N, context.training));
  Routing r = tokens_choose(gates, chosen, slots, E, x.dtype());
  if (options.straight_through) r.dispatch = straight_through(gates, slots, x.dtype());
  r.logits = logits;
  r.probabilities = probabilities;
  if (context.training) {
    const Tensor first = options.counted == Counted::kept ? kept_first_choices(chosen, slots) : slice(best, -1, {0, 1});
    context.add_loss("load_balancing", load_balancing_loss(probabilities, first, mask));
    context.add_loss("router_z", router_z_loss(logits, mask));
  }
  context.record("load", r.load);
  context.record("dropped", sum(r.dropped));
  return r;
}

// ---- the layer

i64 st_hidden(i64 width, double mult) {
  const double hidden = static_cast<double>(width) * mult * 2 / 3;
  return hidden >= 1 && hidden < 0x1p62 ? static_cast<i64>(hidden) : 0;
}

Tensor st_initial(Init& init, const Shape& shape, i64 outputs) {
  const double bound = 1 / std::sqrt(static_cast<double>(std::max<i64>(outputs, 1)));
  return init.uniform(shape, -bound, bound);
}

StMoE::StMoE(i64 w, Options o, Init& init) : StMoE(w, o, feed_forward_experts(w, o, init), init) {}

StMoE::StMoE(i64 w, Options o, std::unique_ptr<Experts> e, Init& init)
    : MoE(std::make_unique<StMoERouter>(w, o.router, init), std::move(e)), width(w), options(std::move(o)) {}

void StMoE::members(Members& m) { members_as(m, "gate", "experts.experts"); }

Tensor StMoE::auxiliary_loss(const Context& context) const {
  const auto weighted = [&](const char* name, double weight) {
    const auto at = context.losses.find(name);
    return at == context.losses.end() ? Tensor{} : at->second * weight;
  };
  const Tensor balance = weighted("load_balancing", options.balance_coefficient),
               z = weighted("router_z", options.z_coefficient);
  if (balance && z) return balance + z;
  return balance ? balance : z ? z : scalar(0);
}

Tensor dense_dispatch(const Routing& r) {
  const Tensor dispatch = cast(dense(r.dispatch), r.combine.dtype());  // [G, P, N]
  return permute(reshape(dispatch, {dispatch.dim(0), r.experts, r.slots_per_expert(), dispatch.dim(2)}), {0, 3, 1, 2});
}

Tensor dense_combine(const Routing& r) {
  const Tensor combine = dense(r.combine);
  return permute(reshape(combine, {combine.dim(0), r.experts, r.slots_per_expert(), combine.dim(2)}), {0, 3, 1, 2});
}

Tensor taken_choices(const Routing& r) { return permute(ge(r.chosen, scalar_like(0, r.chosen)), {2, 0, 1}); }

}  // namespace moegrad
