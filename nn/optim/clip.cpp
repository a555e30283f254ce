#include "nn/optim/clip.h"

#include <fmt/format.h>

#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/global_norm.h"
#include "ops/unary.h"

namespace moegrad {

Clip clip_grad_norm(std::span<const Tensor> parameters, double max_norm, double p) {
  if (!(max_norm > 0)) throw Error(fmt::format("clip_grad_norm: max_norm must be above 0; got {}", max_norm));
  if (!(p > 0)) throw Error(fmt::format("clip_grad_norm: p must be above 0; got {}", p));
  no_grad guard;
  std::vector<Tensor> gradients;
  for (const Tensor& x : parameters)
    if (const Tensor g = x.grad()) gradients.push_back(g);
  Clip clip{.norm = global_norm(gradients, p), .scale = {}};
  clip.scale = clamp(max_norm / (clip.norm + 1e-6), 0, 1);
  return clip;
}

void scale_gradients(std::span<const Tensor> parameters, const Tensor& scale) {
  no_grad guard;
  for (const Tensor& x : parameters)
    if (const Tensor g = x.grad()) g.assign(mul(g, cast(scale, g.dtype())));
}

void clip_grad_value(std::span<const Tensor> parameters, double limit) {
  if (!(limit >= 0)) throw Error(fmt::format("clip_grad_value: limit must not be negative; got {}", limit));
  no_grad guard;
  for (const Tensor& x : parameters)
    if (const Tensor g = x.grad()) g.assign(clamp(g, -limit, limit));
}

}  // namespace moegrad
