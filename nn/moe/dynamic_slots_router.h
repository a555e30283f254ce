// Soft MoE whose slots are made from the sequence, so that their number grows with it.
#pragma once
#include "nn/linear.h"
#include "nn/moe/soft_router.h"

namespace moegrad {

/// The N tokens of a group are cut into C = ceil(N / E) segments of E neighbours; the mean of a segment is projected to
/// one slot for each expert, so that there are about as many slots as tokens.
///   slot_ec = norm(projection_e mean of the tokens c E .. c E + E - 1);  logits_nec = x_n . slot_ec
/// Weights follow from the logits as in SoftRouter.
///   Shapes    x [G, N, D]; projection [E D, D], read as (E, D)
///   Mask      masked tokens are left out of the means; a segment without tokens has no slots. Where N is not a multiple
///             of E, the last segment is filled up with masked tokens
///   Norm      GammaNorm rms over D, one gamma for all slots
///   Precision logits, softmax and norms are f32 or wider
///   Cost      about N^2 logits per group
///   Errors    Error: experts < 1, the factor of the noise is negative.  ShapeError: x is not [G, N, D], the mask not
///             [G, N].  DTypeError: the mask is not bool
///   Source    DynamicSlotsSoftMoE of soft-moe-pytorch; weights as in From sparse to soft mixtures of experts (2023),
///             arXiv:2308.00951, equations 1 and 3
struct DynamicSlotsRouter : Router {
  struct Options {
    i64 experts = 4;
    SoftNoise noise = {};
    SoftWeights weights = {};
  };
  DynamicSlotsRouter(i64 width, Options options, Init& init);
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Linear projection;  ///< "to_slot_embeds.0"
  GammaNorm norm;     ///< "to_slot_embeds.2"

 private:
  Tensor slot_vectors(const Tensor& segments, const Tensor& kept) const;
};

}  // namespace moegrad
