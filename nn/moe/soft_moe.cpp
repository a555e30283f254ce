#include "nn/moe/soft_moe.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

// ---- what both layers have in common

using Kind = GammaNorm::Kind;

FeedForwardExperts::Options experts_of(const char* who, i64 dim, const auto& o) {
  const double hidden = static_cast<double>(dim) * o.expert_mult * (o.geglu ? 2.0 : 1.0) / (o.geglu ? 3.0 : 1.0);
  if (!(hidden >= 1 && hidden < 0x1p62))
    throw Error(
        fmt::format("{}: dim and expert_mult must give at least one hidden unit; got dim = {}, expert_mult = {}", who,
                    dim, o.expert_mult));
  return {.experts = o.num_experts,
          .hidden = static_cast<i64>(hidden),
          .activation = o.geglu ? Activation::geglu : Activation::gelu,
          .bias = true,
          .output_bias = true,
          .gate = o.geglu ? FeedForwardExperts::Gate::second : FeedForwardExperts::Gate::separate,
          .dropout = o.dropout,
          .names = {.w1 = "0", .w2 = "3"}};
}

// x [B, N, D], [B, D] or [B, D, H, W] -> [B, N, D].
Tensor as_tokens(const char* who, const Tensor& x, i64 dim) {
  const int axis = x.rank() == 4 ? 1 : -1;
  if (x.rank() < 2 || x.rank() > 4 || x.dim(axis) != dim)
    throw ShapeError(
        fmt::format("{0}: x must be [B, N, {1}], [B, {1}] or [B, {1}, H, W]; got {2}", who, dim, to_string(x.shape())));
  if (x.rank() == 2) return unsqueeze(x, 1);
  return x.rank() == 4 ? rearrange(x, "b d h w -> b (h w) d") : x;
}

// The way back: y [B, N, D] in the form that x has.
Tensor in_form_of(const Tensor& x, const Tensor& y) {
  if (x.rank() == 4) return move_axis(reshape(y, {x.dim(0), x.dim(2), x.dim(3), x.dim(1)}), 3, 1);
  return reshape(y, x.shape());
}

Tensor forward_normed(const char* who, const MoE& moe, const GammaNorm& norm, const Tensor& x, Context& context) {
  const Tensor tokens = as_tokens(who, x, norm.gamma.dim(0));
  context.mask_of(who, {tokens.dim(0), tokens.dim(1)});  // so that a wrong mask is an error of this layer
  return in_form_of(x, moe.MoE::forward(norm.forward(tokens), context));
}

}  // namespace

// ---- learned slots

namespace {

SoftRouter::Options router_of(const SoftMoE::Options& o) {
  if (o.num_experts < 1) throw Error(fmt::format("SoftMoE: num_experts must be >= 1; got {}", o.num_experts));
  if (o.seq_len < 0 || o.num_slots < 0 || (o.seq_len > 0) == (o.num_slots > 0))
    throw Error(fmt::format("SoftMoE: one of seq_len and num_slots must be given; got seq_len = {}, num_slots = {}",
                            o.seq_len, o.num_slots));
  if (o.num_slots == 0 && o.seq_len < o.num_experts)
    throw Error(fmt::format("SoftMoE: seq_len must be >= num_experts; got seq_len = {}, num_experts = {}", o.seq_len,
                            o.num_experts));
  return {.experts = o.num_experts,
          .slots = o.num_slots > 0 ? o.num_slots : o.seq_len / o.num_experts,
          .normalize_tokens = false,
          .slot_norm = o.use_layernorm ? SoftRouter::SlotNorm::layer : SoftRouter::SlotNorm::rms,
          .noise = o.noise,
          .weights = o.weights,
          .layout = SoftRouter::Layout::width_last,
          .deviation = 1,
          .names = {.phi = "slot_embeds", .norm = "slot_norm"}};
}

}  // namespace

// In braces: what draws initial values comes in this order.
SoftMoE::SoftMoE(i64 dim, const Options& o, Init& init)
    : MoE{std::make_unique<SoftRouter>(dim, router_of(o), init),
          std::make_unique<FeedForwardExperts>(dim, experts_of("SoftMoE", dim, o), init)},
      norm(dim, o.use_layernorm ? Kind::layer : Kind::rms, init) {}

Tensor SoftMoE::forward(const Tensor& x, Context& context) const {
  return forward_normed("SoftMoE", *this, norm, x, context);
}

void SoftMoE::members(Members& m) {
  m.child("norm", norm);
  members_as(m, "", "experts.experts");
}

// ---- slots from the sequence

namespace {

DynamicSlotsRouter::Options router_of(const DynamicSlotsSoftMoE::Options& o) {
  return {.experts = o.num_experts, .noise = o.noise, .weights = o.weights};
}

}  // namespace

DynamicSlotsSoftMoE::DynamicSlotsSoftMoE(i64 dim, const Options& o, Init& init)
    : MoE{std::make_unique<DynamicSlotsRouter>(dim, router_of(o), init),
          std::make_unique<FeedForwardExperts>(dim, experts_of("DynamicSlotsSoftMoE", dim, o), init)},
      norm(dim, Kind::rms, init) {}

Tensor DynamicSlotsSoftMoE::forward(const Tensor& x, Context& context) const {
  return forward_normed("DynamicSlotsSoftMoE", *this, norm, x, context);
}

void DynamicSlotsSoftMoE::members(Members& m) {
  m.child("norm", norm);
  members_as(m, "", "experts");
}

}  // namespace moegrad
