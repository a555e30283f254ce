// The mixture-of-experts layer.
#pragma once
#include "nn/dropout.h"
#include "nn/moe/experts.h"
#include "nn/moe/top_k_router.h"

namespace moegrad {

/// Any router with any experts: every token is sent to slots, experts process their slots, and each token adds up what
/// its slots gave.
///   slots_p = sum_n dispatch_pn x_n;   out_p = expert(slots_p);   y_n = sum_p combine_pn out_p
///   Shapes   x [.., N, D] -> y, same shape; leading axes are routing groups, each with its own capacity
///            (one_group: all tokens in one)
///   Errors   ShapeError: x has fewer than two axes
///   Source   GShard (2020), arXiv:2006.16668, Algorithm 2, with slots in place of (expert, capacity)
struct MoE : Layer {
  MoE(std::unique_ptr<Router> router, std::unique_ptr<Experts> experts, double dropout = 0);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  std::unique_ptr<Router> router;
  std::unique_ptr<Experts> experts;
  Dropout output_dropout;
  bool one_group = false;
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
