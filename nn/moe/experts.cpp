#include "nn/moe/experts.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/moe/slot_batch.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

// The initial bias of a Linear with `in` inputs, for each of E experts.
Tensor bias_of(Init& init, i64 experts, i64 in, i64 out) {
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  return init.uniform({experts, out}, -bound, bound);
}

void check_experts(const char* who, i64 experts) {
  if (experts < 1) throw Error(fmt::format("{}: experts must be >= 1; got {}", who, experts));
}

}  // namespace

// ---- linear

LinearExperts::LinearExperts(i64 width, Options o, Init& init) : options(o) {
  check_experts("LinearExperts", o.experts);
  const i64 out = o.out > 0 ? o.out : width;
  weight = init.kaiming_uniform({o.experts, width, out}, width, o.gain);
  if (o.bias) bias = bias_of(init, o.experts, width, out);
}

Tensor LinearExperts::forward(const Tensor& slots, const Routing& r, Context&) const {
  check_expert_count("LinearExperts", weight.dim(0), r);
  const SlotBatch batch(r, options.bias);
  return batch.join(batch.linear(batch.split(slots), weight, bias));
}

void LinearExperts::members(Members& m) {
  m.stack("{}.weight", weight, {.active = options.active, .transposed = true});
  m.stack("{}.bias", bias, {.active = options.active});
}

// ---- feed-forward

FeedForwardExperts::FeedForwardExperts(i64 width, Options o, Init& init)
    : options(o), hidden_dropout(o.dropout), output_dropout(o.output_dropout) {
  check_experts("FeedForwardExperts", o.experts);
  options.gated = o.gated || is_gated(o.activation);
  const bool gated = options.gated, joined = gated && o.gate != Gate::separate;
  if (!gated && o.gate != Gate::separate)
    throw Error("FeedForwardExperts: a gate in half of w1 needs `gated` or a gated activation; got neither");
  const i64 E = o.experts, F = o.hidden > 0 ? o.hidden : 4 * width, out = o.out > 0 ? o.out : width;
  const double gain = Linear::Options{}.gain;
  w1 = init.kaiming_uniform({E, width, joined ? 2 * F : F}, width, gain);
  if (o.bias) b1 = bias_of(init, E, width, joined ? 2 * F : F);
  w2 = init.kaiming_uniform({E, F, out}, F, gain * o.output_gain);
  if (o.output_bias) b2 = bias_of(init, E, F, out);
  if (o.value_scale) value_scale = init.ones({E, F});
  if (!gated || joined) return;
  w3 = init.kaiming_uniform({E, width, F}, width, gain);
  if (o.bias) b3 = bias_of(init, E, width, F);
}

Tensor FeedForwardExperts::forward(const Tensor& slots, const Routing& r, Context& context) const {
  check_expert_count("FeedForwardExperts", w1.dim(0), r);
  const SlotBatch batch(r, b1 || b2 || value_scale);
  const Tensor x = batch.split(slots);
  const Tensor first = batch.linear(x, w1, b1);
  Tensor h;
  if (!options.gated) {
    h = apply(options.activation, first);
  } else if (w3) {
    h = apply(options.activation, first, batch.linear(x, w3, b3));
  } else {
    const std::vector<Tensor> halves = chunk(first, 2, -1);
    const bool gate_first = options.gate == Gate::first;
    h = apply(options.activation, halves[gate_first ? 0 : 1], halves[gate_first ? 1 : 0]);
  }
  if (value_scale) h = h * batch.per_slot(value_scale);
  const Tensor y = batch.linear(hidden_dropout.forward(h, context), w2, b2);
  return batch.join(output_dropout.forward(y, context));
}

void FeedForwardExperts::members(Members& m) {
  const Stack weight{.active = options.active, .transposed = true}, row{.active = options.active};
  const auto add = [&](const char* name, const char* what, Tensor& x, Stack stack) {
    m.stack(fmt::format("{{}}.{}{}", name, what), x, stack);
  };
  add(options.names.w1, ".weight", w1, weight);
  add(options.names.w1, ".bias", b1, row);
  add(options.names.w2, ".weight", w2, weight);
  add(options.names.w2, ".bias", b2, row);
  add(options.names.w3, ".weight", w3, weight);
  add(options.names.w3, ".bias", b3, row);
  add(options.names.value_scale, "", value_scale, row);
}

}  // namespace moegrad
