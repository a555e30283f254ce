// The mixture-of-experts layer.
#pragma once
#include "nn/dropout.h"
#include "nn/moe/experts.h"
#include "nn/moe/top_k_router.h"

namespace moegrad {

/// Any router with any experts: every token is sent to slots, experts process their slots, and each token adds up what
/// its slots gave.
///   slots_p = sum_n dispatch_pn x_n;   out_p = expert(slots_p);   y_n = sum_p combine_pn out_p + shared(x_n)
///   Shapes   x [.., N, D] -> y [.., N, D'], D' the experts' width, mostly D; leading axes are routing groups, each with
///            its own capacity (one_group: all tokens in one)
///   Mask     of the context, bool [.., N]: masked tokens are in no slot, and their routed part of y is 0
///   Shared   a layer that every token passes through, beside its experts
///   Errors   Error: no router, no experts.  ShapeError: x has fewer than two axes, the mask is not one of its rows
///   Source   GShard (2020), arXiv:2006.16668, Algorithm 2, with slots in place of (expert, capacity)
struct MoE : Layer {
  MoE(std::unique_ptr<Router> router, std::unique_ptr<Experts> experts, double dropout = 0);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;
  /// What `members` lists, where another project's state dictionary has other names; "" adds nothing to a name.
  void members_as(Members& m, std::string_view router_name, std::string_view experts_name);

  /// forward is these two: what the router decides, and what a routing does with x.
  Routing route(const Tensor& x, Context& context) const;
  Tensor process(const Tensor& x, const Routing& routing, Context& context) const;

  std::unique_ptr<Router> router;
  std::unique_ptr<Experts> experts;
  std::unique_ptr<Layer> shared;  ///< may be absent
  Dropout output_dropout;
  bool one_group = false;

 private:
  Tensor run_experts(const Tensor& slots, const Routing& routing, Context& context) const;
};

/// The usual choice: a top-k router and feed-forward experts.
struct MoEOptions {
  i64 experts = 8, k = 2;
  double capacity_factor = 0;  ///< 0: dropless
  i64 hidden = 0;              ///< 0: 4 D
  Activation activation = Activation::gelu;
  bool bias = false, renormalize = true;
  double dropout = 0, output_gain = 1.0;
};
std::unique_ptr<MoE> make_moe(i64 width, const MoEOptions& options, Init& init);

}  // namespace moegrad
