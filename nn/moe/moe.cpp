#include "nn/moe/moe.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {

MoE::MoE(std::unique_ptr<Router> r, std::unique_ptr<Experts> e, double dropout)
    : router(std::move(r)), experts(std::move(e)), output_dropout(dropout) {
  if (!router || !experts)
    throw Error(fmt::format("MoE: it must have a router and experts; got no {}", router ? "experts" : "router"));
}

void MoE::members(Members& m) { members_as(m, "router", "experts"); }

void MoE::members_as(Members& m, std::string_view router_name, std::string_view experts_name) {
  m.child(router_name, *router);
  m.child(experts_name, *experts);
  if (shared) m.child("shared", *shared);
}

namespace {

// x [.., N, D] -> [G, N, D].
Tensor in_groups(const Tensor& x, bool one_group) {
  if (x.rank() < 2) throw ShapeError(fmt::format("MoE: x must be [.., N, D]; got {}", to_string(x.shape())));
  i64 groups = 1;
  for (int axis = 0; !one_group && axis < x.rank() - 2; ++axis) groups *= x.dim(axis);
  i64 rows = 1;
  for (int axis = 0; axis < x.rank() - 1; ++axis) rows *= x.dim(axis);
  return reshape(x, {groups, groups == 0 ? x.dim(-2) : rows / groups, x.dim(-1)});
}

}  // namespace

Tensor MoE::forward(const Tensor& x, Context& context) const {
  return process(x, context.routed(route(x, context)), context);
}

Routing MoE::route(const Tensor& x_any, Context& context) const {
  const Tensor x = in_groups(x_any, one_group);
  return router->route(x, context.mask_of("MoE", {x.dim(0), x.dim(1)}), context);
}

Tensor MoE::run_experts(const Tensor& slots, const Routing& r, Context& context) const {
  const Inside here(context, "experts");
  return experts->forward(slots, r, context);
}

Tensor MoE::process(const Tensor& x_any, const Routing& r, Context& context) const {
  const Tensor x = in_groups(x_any, one_group || r.dropless());  // dropless routing has one group

  const Tensor slots = einsum("gpn,gnd->gpd", r.dispatch, x);
  const Tensor out = run_experts(slots, r, context);
  Tensor y = einsum("gpn,gpd->gnd", r.combine, out);

  Shape shape = x_any.shape();
  shape[shape.rank() - 1] = y.dim(-1);
  y = reshape(y, shape);
  if (shared) {
    const Inside here(context, "shared");
    y = y + shared->forward(x_any, context);
  }
  return output_dropout.forward(y, context);
}

std::unique_ptr<MoE> make_moe(i64 width, const MoEOptions& o, Init& init) {
  auto router = std::make_unique<TopKRouter>(
      width,
      TopKRouter::Options{
          .experts = o.experts, .k = o.k, .capacity = {.factor = o.capacity_factor}, .renormalize = o.renormalize},
      init);
  const FeedForwardExperts::Options experts{.experts = o.experts,
                                            .hidden = o.hidden,
                                            .activation = o.activation,
                                            .bias = o.bias,
                                            .output_bias = o.bias,
                                            .output_gain = o.output_gain,
                                            .active = o.k};
  return std::make_unique<MoE>(std::move(router), std::make_unique<FeedForwardExperts>(width, experts, init),
                               o.dropout);
}

}  // namespace moegrad
