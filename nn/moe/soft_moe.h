// The two layers of soft-moe-pytorch.
#pragma once
#include "nn/moe/dynamic_slots_router.h"
#include "nn/moe/moe.h"
#include "nn/moe/soft_router.h"

namespace moegrad {

/// A soft mixture of feed-forward experts: a fixed number of slots is learned, every token fills all of them a little
/// and gets a little of each.
///   x' = norm(x);  logits_np = x'_n . norm(slot_embeds_p);  slots_p = sum_n dispatch_pn x'_n;
///   y_n = sum_p combine_pn expert(slots_p)
///   What slots average is x', not x; so it is in soft-moe-pytorch, while the paper leaves the norm to the block around
///   Shapes    x [B, N, D], [B, D] (one token a row) or [B, D, H, W] (N = H W, row by row) -> y, same shape
///   Experts   w2 gelu(w1 x), or w2 (a gelu(b)) with [a, b] = w1 x (geglu); hidden size D expert_mult, with geglu 2/3
///             of it, rounded down; dropout of the hidden values
///   Slots     num_slots for each expert, or seq_len / num_experts, rounded down: give one of both
///   Mask      of the context, bool with one element per token: see SoftWeights
///   Noise     see SoftNoise
///   State     norm.gamma, slot_norm.gamma (and beta, with use_layernorm), slot_embeds [E, C, D],
///             experts.experts.0.0.weight, .0.bias, .3.weight, .3.bias, ..
///   Errors    Error: none or both of seq_len and num_slots, seq_len < num_experts, no hidden unit, and as the router,
///             the experts and Dropout.  ShapeError: another x, or a mask of another size
///   Source    From sparse to soft mixtures of experts (2023), arXiv:2308.00951, Algorithm 1; SoftMoE of
///             soft-moe-pytorch
struct SoftMoE : MoE {
  struct Options {
    i64 num_experts = 4;
    i64 seq_len = 0, num_slots = 0;
    double expert_mult = 4;
    double dropout = 0;
    bool geglu = false;
    bool use_layernorm = false;
    SoftNoise noise = {};
    SoftWeights weights = {};
  };
  SoftMoE(i64 dim, const Options& options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  GammaNorm norm;
};

/// SoftMoE whose slots are made from the tokens: DynamicSlotsRouter in place of learned ones.
///   x' = norm(x), with rms; the rest, and all that is not said here, as SoftMoE
///   State     norm.gamma, to_slot_embeds.0.weight, to_slot_embeds.2.gamma, experts.0.0.weight, ..
///   Source    DynamicSlotsSoftMoE of soft-moe-pytorch
struct DynamicSlotsSoftMoE : MoE {
  struct Options {
    i64 num_experts = 4;
    double expert_mult = 4;
    double dropout = 0;
    bool geglu = false;
    SoftNoise noise = {};
    SoftWeights weights = {};
  };
  DynamicSlotsSoftMoE(i64 dim, const Options& options, Init& init);
  Tensor forward(const Tensor& x, Context& context) const override;
  void members(Members& m) override;

  GammaNorm norm;
};

}  // namespace moegrad
