#include "nn/vision/patch_dropout.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/concat.h"
#include "ops/gather.h"
#include "ops/slice.h"
#include "ops/sort.h"
#include "ops/views.h"

namespace moegrad {

PatchDropout::PatchDropout(double probability, i64 prefix_tokens, bool in_order)
    : p(probability), prefix(prefix_tokens), ordered(in_order) {
  if (!(p >= 0 && p < 1)) throw Error(fmt::format("PatchDropout: p must be in [0, 1); got {}", p));
  if (prefix < 0) throw Error(fmt::format("PatchDropout: prefix must be >= 0; got {}", prefix));
}

Tensor PatchDropout::forward(const Tensor& x, Context& context) const {
  if (x.rank() != 3 || x.dim(1) < prefix)
    throw ShapeError(fmt::format("PatchDropout: x must be [B, {} + S, D]; got {}", prefix, to_string(x.shape())));
  const i64 S = x.dim(1) - prefix;
  if (!context.training || p == 0 || S == 0) return x;
  const i64 kept = std::max<i64>(1, static_cast<i64>(static_cast<double>(S) * (1 - p)));
  const Tensor rank = context.noise(Noise::normal, {x.dim(0), S}, DType::f32);  // random numbers in order: a shuffle
  Tensor index = slice(argsort(rank, -1), -1, {0, kept});                       // [B, kept]
  if (ordered) index = sort(index, -1).values;
  const Tensor patches = take_along(slice(x, 1, {prefix, kEnd}), 1, unsqueeze(index, -1));
  return concat({slice(x, 1, {0, prefix}), patches}, 1);
}

}  // namespace moegrad
