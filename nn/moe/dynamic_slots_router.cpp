#include "nn/moe/dynamic_slots_router.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/moe/router_gate.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

const DynamicSlotsRouter::Options& checked(const DynamicSlotsRouter::Options& o) {
  if (o.experts < 1) throw Error(fmt::format("DynamicSlotsRouter: experts must be >= 1; got {}", o.experts));
  if (!(o.noise.factor >= 0) || !std::isfinite(o.noise.factor))
    throw Error(fmt::format("DynamicSlotsRouter: the factor of the noise must be >= 0; got {}", o.noise.factor));
  return o;
}

// The mean of the kept tokens of each segment: [G, C, E, D], kept bool [G, C, E] or an empty handle -> [G, C, D]. Zeros
// where none is kept.
Tensor mean_of_kept(const Tensor& segments, const Tensor& kept) {
  if (!kept) return mean(segments, 2);
  const Tensor total = sum(where(unsqueeze(kept, -1), segments, scalar_like(0, segments)), 2);
  const Tensor count = cast(sum(kept, -1, keep_dims), segments.dtype());  // [G, C, 1]
  return total / maximum(count, scalar_like(1, segments));
}

}  // namespace

DynamicSlotsRouter::DynamicSlotsRouter(i64 width, Options o, Init& init)
    : options(checked(o)),
      projection(width, o.experts * width, init, {.bias = false}),
      norm(width, GammaNorm::Kind::rms, init) {}

void DynamicSlotsRouter::members(Members& m) {
  m.child("to_slot_embeds.0", projection);
  m.child("to_slot_embeds.2", norm);
}

// [G, C, E, D] -> a slot of each expert for each segment, [G, E, C, D].
Tensor DynamicSlotsRouter::slot_vectors(const Tensor& segments, const Tensor& kept) const {
  const i64 G = segments.dim(0), C = segments.dim(1), E = segments.dim(2), D = segments.dim(3);
  const Tensor projected = linear(mean_of_kept(segments, kept), widen(projection.weight), {});  // [G, C, E D]
  return norm.forward(swap_axes(reshape(projected, {G, C, E, D}), 1, 2));
}

Routing DynamicSlotsRouter::route(const Tensor& x_any, const Tensor& mask_any, Context& context) const {
  check_router_input("DynamicSlotsRouter", x_any, norm.gamma.dim(0), mask_any);
  const i64 G = x_any.dim(0), N = x_any.dim(1), D = x_any.dim(2), E = options.experts;
  const i64 C = N / E + (N % E == 0 ? 0 : 1), added = C * E - N;
  const Tensor x = pad(widen(x_any), {{0, added}, {0, 0}});  // [G, C E, D]
  Tensor mask = mask_any || added == 0 ? mask_any : ones({G, N}, DType::boolean, x.device());
  if (mask) mask = pad(mask, {{0, added}});

  const Tensor kept = mask ? reshape(mask, {G, C, E}) : Tensor{};
  const Tensor slots = slot_vectors(reshape(x, {G, C, E, D}), kept);
  const Tensor logits = add_noise(einsum("gnd,gecd->gnec", x, slots), options.noise, context);
  Routing r =
      soft_routing(logits, {.tokens = mask, .slots = kept ? any(kept, -1) : Tensor{}}, options.weights, x_any.dtype());
  if (added == 0) return r;
  r.logits = slice(r.logits, 1, {0, N});  // added tokens are 0: no slot misses them
  r.dispatch = slice(r.dispatch, 2, {0, N});
  r.combine = slice(r.combine, 2, {0, N});
  return r;
}

}  // namespace moegrad
