#include "nn/moe/losses.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {

Tensor load_balancing_loss(const Tensor& probabilities, const Tensor& chosen) {
  if (probabilities.rank() != 3 || chosen.rank() != 3 || probabilities.dim(0) != chosen.dim(0) ||
      probabilities.dim(1) != chosen.dim(1))
    throw ShapeError(
        fmt::format("load_balancing_loss: probabilities must be [G, N, E] and chosen [G, N, K]; got {} and {}",
                    to_string(probabilities.shape()), to_string(chosen.shape())));
  const i64 groups = probabilities.dim(0), tokens = probabilities.dim(1), experts = probabilities.dim(2),
            choices = chosen.dim(2);
  if (groups * tokens * choices == 0) return zeros({}, probabilities.dtype(), probabilities.device());
  const Tensor counts =
      cast(dense(sum(one_hot(chosen, experts), {1, 2})), probabilities.dtype());  // [G, E], no gradient
  const Tensor total = einsum("ge,gne->", counts, probabilities);
  return total * (static_cast<double>(experts) / static_cast<double>(groups * tokens * tokens * choices));
}

Tensor router_z_loss(const Tensor& logits) {
  if (logits.rank() == 0 || logits.dim(-1) == 0)
    throw ShapeError(
        fmt::format("router_z_loss: logits must be [.., E] with E >= 1; got {}", to_string(logits.shape())));
  if (logits.size() == 0) return zeros({}, logits.dtype(), logits.device());
  return mean(square(logsumexp(logits, -1)));
}

}  // namespace moegrad
