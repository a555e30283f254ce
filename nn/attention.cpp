#include "nn/attention.h"

#include <fmt/format.h>

#include "ops/attention.h"
#include "ops/views.h"

namespace moegrad {

i64 width_of_heads(const char* who, i64 width, i64 heads) {
  if (heads < 1 || width % heads != 0)
    throw ShapeError(fmt::format("{}: heads must divide the width; got {} and {}", who, heads, width));
  return width;
}

SelfAttention::SelfAttention(i64 width, Options o, Init& init)
    : options(o),
      q_proj(width_of_heads("self-attention", width, o.heads), width, init, {.bias = o.bias}),
      k_proj(width, width, init, {.bias = o.bias}),
      v_proj(width, width, init, {.bias = o.bias}),
      o_proj(width, width, init, {.gain = Linear::Options{}.gain * o.output_gain}),
      output_dropout(o.dropout) {}

Tensor SelfAttention::forward(const Tensor& x, Context& context) const {
  const i64 width = q_proj.weight.dim(0), heads = options.heads;
  if (x.rank() != 3 || x.dim(2) != width)
    throw ShapeError(fmt::format("self-attention: x must be [B, S, {}]; got x {}", width, to_string(x.shape())));
  const i64 B = x.dim(0), S = x.dim(1);
  const auto split = [&](const Linear& projection) {  // [B, S, D] -> [B, H, S, D/H]
    return permute(reshape(projection.forward(x), {B, S, heads, width / heads}), {0, 2, 1, 3});
  };
  AttentionOptions how{.causal = options.causal};
  if (context.training && options.dropout > 0) {
    how.dropout = options.dropout;
    how.draw = context.draw();
  }
  const Tensor mixed = attention(split(q_proj), split(k_proj), split(v_proj), how);  // [B, H, S, D/H]
  const Tensor joined = reshape(permute(mixed, {0, 2, 1, 3}), {B, S, width});        // [B, S, D]
  return output_dropout.forward(o_proj.forward(joined), context);
}

void SelfAttention::members(Members& m) {
  m.child("q_proj", q_proj);
  m.child("k_proj", k_proj);
  m.child("v_proj", v_proj);
  m.child("o_proj", o_proj);
}

}  // namespace moegrad
