// Soft MoE around any layer.
#pragma once
#include <functional>

#include "nn/moe/module_experts.h"
#include "nn/moe/moe.h"
#include "nn/moe/soft_router.h"

namespace moegrad {

/// Makes one layer; called once per expert.
using MakeLayer = std::function<std::unique_ptr<Layer>(Init& init)>;

/// Soft MoE with experts of any kind: each slot is a mean over all tokens, expert e processes its C slots, each token
/// gets a mean over all slots.
///   logits_nec = scale x_n phi_ec / (|x_n| |phi_ec|);  slots_ec = sum_n softmax_n(logits)_nec x_n
///   y_n = sum_ec softmax_ec(logits)_nec expert_e(slots_e)_c
///   Shapes    x [.., N, D] -> y [.., N, D'], D' the width that experts give; expert e sees its slots [G, C, D].
///             phi [D, E, C]; scale [1], with `normalize` only
///   Initial   phi normal with deviation 1/sqrt(D), scale 1
///   Mask      of the context, bool [.., N]: masked tokens are in no slot, and their y is 0. Experts see no mask
///   Experts   made one by one by a factory, or given as a batch: LinearExperts, mlp_experts (nn/vision/mlp.h), ..
///   State     "phi", "scale", "experts.0.<name>", ..
///   Gradient  any order that the experts have
///   Cost      G N E C logits
///   Errors    Error: experts or slots < 1, no experts.  ShapeError: x has fewer than two axes or another width
///   Source    From sparse to soft mixtures of experts (2023), arXiv:2308.00951, algorithm 1 and section 2.3;
///             SoftMoELayerWrapper of soft-moe
struct SoftMoEWrapper : MoE {
  struct Options {
    i64 experts = 8;
    i64 slots = 1;          ///< per expert, C
    bool normalize = true;  ///< tokens and phi for the logits, as above; else logits_nec = x_n phi_ec
    /// With `normalize`, slots are means of x_n / |x_n|, as in soft-moe; the paper's are means of x_n.
    bool average_normalized = false;
  };
  SoftMoEWrapper(i64 width, Options options, const MakeLayer& make, Init& init);
  SoftMoEWrapper(i64 width, Options options, std::unique_ptr<Experts> experts, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  Options options;
};

}  // namespace moegrad
