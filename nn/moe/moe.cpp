#include "nn/moe/moe.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {

MoE::MoE(std::unique_ptr<Router> r, std::unique_ptr<Experts> e, double dropout)
    : router(std::move(r)), experts(std::move(e)), output_dropout(dropout) {}

void MoE::members(Members& m) {
  m.child("router", *router);
  m.child("experts", *experts);
}

Tensor MoE::forward(const Tensor& x_any, Context& context) const {
  if (x_any.rank() < 2) throw ShapeError(fmt::format("MoE: x must be [.., N, D]; got {}", to_string(x_any.shape())));
  const i64 D = x_any.dim(-1), N = one_group ? -1 : x_any.dim(-2);
  Tensor x = one_group || x_any.rank() == 2 ? reshape(x_any, {1, x_any.size() / std::max<i64>(D, 1), D})
                                            : reshape(x_any, {x_any.size() / std::max<i64>(N * D, 1), N, D});

  const Routing r = router->route(x, context);
  if (r.begin) x = reshape(x, {1, x.dim(0) * x.dim(1), D});  // dropless routing has one group

  const Tensor slots = einsum("gpn,gnd->gpd", r.dispatch, x);
  const Tensor out = experts->forward(slots, r);
  const Tensor y = einsum("gpn,gpd->gnd", r.combine, out);

  return output_dropout.forward(reshape(y, x_any.shape()), context);
}

std::unique_ptr<MoE> make_moe(i64 width, const MoEOptions& o, Init& init) {
  auto router = std::make_unique<TopKRouter>(
      width,
      TopKRouter::Options{
          .experts = o.experts, .k = o.k, .capacity_factor = o.capacity_factor, .renormalize = o.renormalize},
      init);
  const FeedForwardExperts::Options experts{.experts = o.experts,
                                            .hidden = o.hidden,
                                            .activation = o.activation,
                                            .bias = o.bias,
                                            .output_gain = o.output_gain,
                                            .active = o.k};
  return std::make_unique<MoE>(std::move(router), std::make_unique<FeedForwardExperts>(width, experts, init),
                               o.dropout);
}

}  // namespace moegrad
