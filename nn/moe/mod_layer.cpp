#include "nn/moe/mod_layer.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

ExpertChoiceRouter::Options one_expert(const MoDLayer::Options& o) {
  return {.experts = 1,
          .capacity = o.capacity,
          .gates = o.gates,
          .in_order = o.in_order,
          .noise = o.noise,
          .losses = o.losses,
          .gate = o.gate};
}

}  // namespace

MoDLayer::MoDLayer(i64 width, std::unique_ptr<Layer> layer, Options o, Init& init)
    : options(o), router(width, one_expert(o), init), block(std::move(layer)) {
  if (!block) throw Error("MoDLayer: there must be a block; got none");
}

Tensor MoDLayer::forward(const Tensor& x, Context& context) const {
  return process(x, context.routed(route(x, context)), context);
}

Routing MoDLayer::route(const Tensor& x, Context& context) const {
  if (x.rank() != 3) throw ShapeError(fmt::format("MoDLayer: x must be [B, N, D]; got {}", to_string(x.shape())));
  return router.route(x, context.mask_of("MoDLayer", {x.dim(0), x.dim(1)}), context);
}

Tensor MoDLayer::process(const Tensor& x, const Routing& r, Context& context) const {
  const Tensor slots = einsum("gpn,gnd->gpd", r.dispatch, x);  // [B, C, D]
  Tensor out;
  {
    const bool masked = static_cast<bool>(context.mask);
    const Unmasked inside(context);
    if (masked) context.mask = ge(r.token, scalar_like(0, r.token));
    const Inside here(context, options.block_name);
    out = block->forward(slots, context);
  }
  if (out.shape() != slots.shape())
    throw ShapeError(fmt::format("MoDLayer: the block must keep the shape of its slots {}; got {}",
                                 to_string(slots.shape()), to_string(out.shape())));
  const Tensor y = einsum("gpn,gpd->gnd", r.combine, out);
  return options.residual ? x + y : y;
}

void MoDLayer::members(Members& m) {
  m.child("router", router);
  m.child(options.block_name, *block);
}

}  // namespace moegrad
