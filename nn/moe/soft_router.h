// The router of Soft MoE: every slot is a mean over all tokens, and every token gets a mean over all slots.
#pragma once
#include "nn/moe/routing.h"
#include "nn/norm.h"

namespace moegrad {

/// How logits of tokens and slots become weights. The first of each is the paper's, or follows from it.
struct SoftWeights {
  enum class Combine {
    jointly,             ///< one softmax over the slots of all experts: the weights of a token sum to 1
    experts_then_slots,  ///< softmax over the slots of each expert of a softmax over experts: the weights of a token sum
                         ///< to the number of experts, and with one slot per expert every weight is 1
  };
  enum class Masked {
    zeros,          ///< masked tokens get 0, and slots of a group without tokens are 0
    mean_of_slots,  ///< masked tokens get the mean of all slots, and slots of a group without tokens are the mean of its
                    ///< masked ones: what filling logits with the least finite number gives
  };
  Combine combine = Combine::jointly;
  Masked masked = Masked::zeros;
};

/// What does not take part; an empty handle where everything does.
struct SoftMask {
  Tensor tokens;      ///< bool [G, N]
  Tensor slots = {};  ///< bool [G, C], the same for every expert; slots left out weigh nothing
};

/// dispatch = softmax of the logits over tokens, combine = softmax over slots, both dense.
///   Shapes    logits [G, N, E, C] -> dispatch, combine [G, E C, N]; logits are kept in the routing as they are
///   Dtypes    computed in f32 or wider; dispatch and combine are rounded to `dtype`, that of the values
///   Gradient  to the logits, any order; none from weights that a mask decides. Finite also where all tokens of a group
///             are masked
///   Errors    ShapeError: logits have not four axes, a mask has another shape.  DTypeError: a mask is not bool
///   Source    From sparse to soft mixtures of experts (2023), arXiv:2308.00951, equations 1 and 3
Routing soft_routing(const Tensor& logits, const SoftMask& mask, const SoftWeights& how, DType dtype);

/// Gumbel noise on the logits, which both softmaxes then see.
struct SoftNoise {
  double factor = 0;
  bool in_evaluation = false;  ///< also when the context is not training
};
/// logits + factor g, with g from the context; the logits themselves where there is no noise.
Tensor add_noise(const Tensor& logits, const SoftNoise& noise, Context& context);

/// Learned slots: logits = x phi, the router of Soft MoE.
///   dispatch_pn = e^(logits_np) / sum_m e^(logits_mp);  combine_pn = e^(logits_np) / sum_q e^(logits_nq)
///   Shapes    x [G, N, D]; phi [D, E, C] or [E, C, D]
///   Norm      l2: both x and phi are divided by their length for the logits, times a learned scalar (the paper's
///             section 2.3, for wide models). Slots average x as it is: normalise before, if they shall not
///   Noise     see SoftNoise
///   Mask      tokens that are masked are in no slot and get nothing: see SoftWeights
///   Precision logits, softmax and norms are f32 or wider
///   Cost      G N E C logits: linear in N only if slots per expert are given, not in proportion to N
///   Errors    Error: experts or slots < 1, the factor of the noise is negative.  ShapeError: x is not [G, N, D]
///   Source    From sparse to soft mixtures of experts (2023), arXiv:2308.00951, equations 1 to 3 and section 2.3;
///             SoftMoELayerWrapper of soft-moe, SoftMoE of soft-moe-pytorch, SoftRouter of pytorch-mixtures
struct SoftRouter : Router {
  enum class Layout { width_first, width_last };  ///< phi [D, E, C], [E, C, D]
  enum class SlotNorm {
    none,
    l2,     ///< phi / |phi| times a learned scalar, "scale"
    rms,    ///< GammaNorm with a weight per feature
    layer,  ///< GammaNorm, too
  };
  struct Names {  ///< in the state dictionary
    const char *phi = "phi", *scale = "scale", *norm = "slot_norm";
  };
  struct Options {
    i64 experts = 8;
    i64 slots = 1;  ///< per expert, C
    bool normalize_tokens = true;
    SlotNorm slot_norm = SlotNorm::l2;
    SoftNoise noise = {};
    SoftWeights weights = {};
    Layout layout = Layout::width_first;
    double deviation = 0;  ///< of phi's initial values, which are normal; 0: 1 / sqrt(D)
    Names names = {};
  };
  SoftRouter(i64 width, Options options, Init& init);
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;

  Options options;
  Tensor phi, scale;                ///< scale [1], with l2 only
  std::unique_ptr<GammaNorm> norm;  ///< with rms and layer only

 private:
  Tensor slot_vectors() const;
  i64 width_;
};

}  // namespace moegrad
