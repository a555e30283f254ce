#include "nn/vision/attention.h"

#include <fmt/format.h>

#include "nn/attention.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {

Tensor attend(const Tensor& qkv, i64 heads, const AttentionOptions& how, const AnyNorm* q_norm, const AnyNorm* k_norm) {
  const i64 B = qkv.dim(0), S = qkv.dim(1), D = qkv.dim(2) / 3;
  const Tensor split = permute(reshape(qkv, {B, S, 3, heads, D / heads}), {2, 0, 3, 1, 4});  // [3, B, H, S, D/H]
  const auto normed = [](const Tensor& x, const AnyNorm* norm) { return norm ? norm->forward(x) : x; };
  const Tensor y = attention(normed(split[0], q_norm), normed(split[1], k_norm), split[2], how);  // [B, H, S, D/H]
  return reshape(permute(y, {0, 2, 1, 3}), {B, S, D});
}

FusedAttention::FusedAttention(i64 width, Options o, Init& init)
    : options(o),
      qkv(width_of_heads("FusedAttention", width, o.heads), 3 * width, init, {.bias = o.qkv_bias}),
      proj(width, width, init),
      weight_dropout(o.dropout),
      output_dropout(o.output_dropout) {
  if (!o.qk_norm) return;
  q_norm = std::make_unique<AnyNorm>(width / o.heads, o.norm, init);
  k_norm = std::make_unique<AnyNorm>(width / o.heads, o.norm, init);
}

Tensor FusedAttention::forward(const Tensor& x, Context& context) const {
  if (x.rank() != 3 || x.dim(2) != proj.weight.dim(0))
    throw ShapeError(
        fmt::format("FusedAttention: x must be [B, S, {}]; got {}", proj.weight.dim(0), to_string(x.shape())));
  AttentionOptions how;
  if (context.training && weight_dropout.p > 0) how.dropout = weight_dropout.p, how.draw = context.draw();
  const Tensor mixed = attend(qkv.forward(x), options.heads, how, q_norm.get(), k_norm.get());
  return output_dropout.forward(proj.forward(mixed), context);
}

void FusedAttention::members(Members& m) {
  m.child("qkv", qkv);
  if (q_norm) m.child("q_norm", *q_norm);
  if (k_norm) m.child("k_norm", *k_norm);
  m.child("proj", proj);
}

}  // namespace moegrad
