#include "nn/moe/mhsa.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/attention.h"
#include "nn/context.h"
#include "ops/ops.h"

namespace moegrad {
MHSA::MHSA(i64 width, Options o, Init& init)
    : options(o),
      queries_keys_values(width_of_heads("MHSA", width, o.heads), 3 * width, init),
      projection(width, width, init) {
  if (!(o.dropout >= 0 && o.dropout <= 1))
    throw Error(fmt::format("MHSA: dropout must be in [0, 1]; got {}", o.dropout));
}

Tensor MHSA::forward(const Tensor& x, Context& context) const {
  const i64 D = projection.weight.dim(0), H = options.heads;
  if (x.rank() != 3 || x.dim(2) != D)
    throw ShapeError(fmt::format("MHSA: x must be [B, N, {}]; got x {}", D, to_string(x.shape())));
  const i64 B = x.dim(0), N = x.dim(1);
  const Tensor qkv =
      rearrange(queries_keys_values.forward(x), "b n (h d i) -> i b h n d", {{"h", H}, {"i", 3}});  // [3, B, H, N, D/H]

  AttentionOptions how;
  if (options.scaling != Scaling::scores) how.scale = 1;
  if (const Tensor mask = context.mask_of("MHSA", {B, N})) how.mask = reshape(mask, {B, 1, 1, N});
  if (context.training && options.dropout > 0) {
    how.dropout = options.dropout;
    how.draw = context.draw();
  }
  Tensor y = rearrange(attention(qkv[0], qkv[1], qkv[2], how), "b h n d -> b n (h d)");
  if (options.scaling == Scaling::probabilities) y = y / std::sqrt(static_cast<double>(D));
  return projection.forward(y);
}

void MHSA::members(Members& m) {
  m.child("queries_keys_values", queries_keys_values);
  m.child("projection", projection);
}

}  // namespace moegrad
