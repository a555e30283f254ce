#include "nn/moe/soft_router.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/moe/quiet_routers.h"
#include "nn/moe/router_gate.h"
#include "ops/ops.h"

namespace moegrad {

// ---- weights from logits

namespace {

void check_mask(const char* what, const Tensor& mask, const Shape& shape) {
  if (!mask) return;
  if (mask.dtype() != DType::boolean) throw_dtype("soft_routing", fmt::format("bool ({})", what).c_str(), mask.dtype());
  if (mask.shape() != shape)
    throw ShapeError(
        fmt::format("soft_routing: {} must be {}; got {}", what, to_string(shape), to_string(mask.shape())));
}

// Where a weight is left out: bool, broadcasts to [G, N, E, C]. An empty handle: nowhere.
Tensor left_out(const SoftMask& mask) {
  const Tensor tokens =
      mask.tokens ? unsqueeze(unsqueeze(logical_not(mask.tokens), -1), -1) : Tensor{};               // [G, N, 1, 1]
  const Tensor slots = mask.slots ? unsqueeze(unsqueeze(logical_not(mask.slots), 1), 1) : Tensor{};  // [G, 1, 1, C]
  return tokens && slots ? logical_or(tokens, slots) : tokens ? tokens : slots;
}

Tensor fill(const Tensor& x, const Tensor& where, double value) { return where ? masked_fill(x, where, value) : x; }

}  // namespace

Routing soft_routing(const Tensor& logits_any, const SoftMask& mask, const SoftWeights& how, DType dtype) {
  const Tensor z = widen(logits_any);
  if (z.rank() != 4)
    throw ShapeError(fmt::format("soft_routing: logits must be [G, N, E, C]; got {}", to_string(z.shape())));
  const i64 G = z.dim(0), N = z.dim(1), E = z.dim(2), C = z.dim(3);
  check_mask("the mask of tokens", mask.tokens, {G, N});
  check_mask("the mask of slots", mask.slots, {G, C});

  const Tensor out = left_out(mask);
  const double least = lowest_score(z);  // a group that is masked throughout becomes uniform, not 0 / 0
  const auto over = [&](const Tensor& x, const Axes& axes) {
    return x.size() == 0 ? x : softmax(fill(x, out, least), axes);
  };
  const auto weights = [&](const Tensor& w) {  // [G, N, E, C] -> [G, P, N]
    const Tensor kept = how.masked == SoftWeights::Masked::zeros ? fill(w, out, 0) : w;
    return cast(transpose(reshape(kept, {G, N, E * C})), dtype);
  };
  Routing r{.experts = E, .logits = z};
  r.dispatch = weights(over(z, {1}));
  r.combine = weights(how.combine == SoftWeights::Combine::jointly ? over(z, {2, 3}) : over(over(z, {2}), {3}));
  return r;
}

// ---- learned slots

Tensor add_noise(const Tensor& logits, const SoftNoise& noise, Context& context) {
  if (noise.factor == 0 || !(context.training || noise.in_evaluation)) return logits;
  return logits + noise.factor * router_noise(context, Noise::gumbel, logits.shape(), logits.dtype());
}

namespace {

const SoftRouter::Options& checked(const SoftRouter::Options& o) {
  if (o.experts < 1 || o.slots < 1)
    throw Error(
        fmt::format("SoftRouter: experts and slots must be >= 1; got experts = {}, slots = {}", o.experts, o.slots));
  if (!(o.noise.factor >= 0) || !std::isfinite(o.noise.factor))
    throw Error(fmt::format("SoftRouter: the factor of the noise must be >= 0; got {}", o.noise.factor));
  return o;
}

}  // namespace

SoftRouter::SoftRouter(i64 width, Options o, Init& init) : options(checked(o)), width_(width) {
  const double deviation = o.deviation > 0 ? o.deviation : 1 / std::sqrt(static_cast<double>(width));
  phi = init.normal(
      o.layout == Layout::width_first ? Shape{width, o.experts, o.slots} : Shape{o.experts, o.slots, width}, deviation);
  if (o.slot_norm == SlotNorm::l2) scale = init.ones({1});
  if (o.slot_norm == SlotNorm::rms) norm = std::make_unique<GammaNorm>(width, GammaNorm::Kind::rms, init);
  if (o.slot_norm == SlotNorm::layer) norm = std::make_unique<GammaNorm>(width, GammaNorm::Kind::layer, init);
}

void SoftRouter::members(Members& m) {
  m.parameter(options.names.phi, phi);
  m.parameter(options.names.scale, scale);
  if (norm) m.child(options.names.norm, *norm);
}

// phi, normalised: [E, C, D].
Tensor SoftRouter::slot_vectors() const {
  const Tensor v = widen(options.layout == Layout::width_first ? permute(phi, {1, 2, 0}) : phi);
  if (norm) return norm->forward(v);
  return scale ? widen(scale) * normalize(v, 2, -1) : v;
}

Routing SoftRouter::route(const Tensor& x_any, const Tensor& mask, Context& context) const {
  check_router_input("SoftRouter", x_any, width_, mask);
  const Tensor x = options.normalize_tokens ? normalize(widen(x_any), 2, -1) : widen(x_any);
  const Tensor logits = add_noise(einsum("gnd,ecd->gnec", x, slot_vectors()), options.noise, context);
  return soft_routing(logits, {.tokens = mask}, options.weights, x_any.dtype());
}

}  // namespace moegrad
