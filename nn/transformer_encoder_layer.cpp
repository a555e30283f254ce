#include "nn/transformer_encoder_layer.h"

#include <fmt/format.h>

#include "nn/attention.h"
#include "nn/vision/attention.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/views.h"

namespace moegrad {
namespace {

i64 checked_width(i64 width, const TransformerEncoderLayer::Options& o) {
  if (o.hidden < 1) throw Error(fmt::format("TransformerEncoderLayer: hidden must be >= 1; got {}", o.hidden));
  if (is_gated(o.activation))
    throw Error("TransformerEncoderLayer: the activation must be one of a single tensor; got a gated one");
  return width_of_heads("TransformerEncoderLayer", width, o.heads);
}

}  // namespace

TransformerEncoderLayer::TransformerEncoderLayer(i64 width, Options o, Init& init)
    : options(o),
      out_proj(checked_width(width, o), width, init, {.bias = o.bias}),
      linear1(width, o.hidden, init, {.bias = o.bias}),
      linear2(o.hidden, width, init, {.bias = o.bias}),
      norm1(width, {.eps = o.eps}, init),
      norm2(width, {.eps = o.eps}, init),
      dropout(o.dropout) {
  in_proj_weight = init.xavier_uniform({3 * width, width}, width, 3 * width);
  if (o.bias) {
    in_proj_bias = init.zeros({3 * width});
    out_proj.bias = init.zeros({width});
  } else {
    norm1.bias = norm2.bias = {};
  }
}

Tensor TransformerEncoderLayer::attention(const Tensor& x, Context& context) const {
  const Inside here(context, "self_attn");
  AttentionOptions how;
  if (context.training && dropout.p > 0) how.dropout = dropout.p, how.draw = context.draw();
  const Tensor mixed = attend(linear(x, in_proj_weight, in_proj_bias), options.heads, how);
  return dropout.forward(out_proj.forward(mixed), context);
}

Tensor TransformerEncoderLayer::feed_forward(const Tensor& x, Context& context) const {
  const Tensor hidden = dropout.forward(apply(options.activation, linear1.forward(x)), context);
  return dropout.forward(linear2.forward(hidden), context);
}

Tensor TransformerEncoderLayer::forward(const Tensor& x_any, Context& context) const {
  if (x_any.rank() != 3 || x_any.dim(2) != out_proj.weight.dim(0))
    throw ShapeError(fmt::format("TransformerEncoderLayer: x must be [{}, {}]; got {}",
                                 options.batch_first ? "B, S" : "S, B", out_proj.weight.dim(0),
                                 to_string(x_any.shape())));
  const auto turn = [&](const Tensor& x) { return options.batch_first ? x : swap_axes(x, 0, 1); };
  const Tensor x = turn(x_any);  // [B, S, D]
  if (options.norm_first) {
    const Tensor h = x + attention(norm1.forward(x), context);
    return turn(h + feed_forward(norm2.forward(h), context));
  }
  const Tensor h = norm1.forward(x + attention(x, context));
  return turn(norm2.forward(h + feed_forward(h, context)));
}

void TransformerEncoderLayer::members(Members& m) {
  m.parameter("self_attn.in_proj_weight", in_proj_weight);
  m.parameter("self_attn.in_proj_bias", in_proj_bias);
  m.child("self_attn.out_proj", out_proj);
  m.child("linear1", linear1);
  m.child("linear2", linear2);
  m.child("norm1", norm1);
  m.child("norm2", norm2);
}

}  // namespace moegrad
