#include "ops/loss.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/unary.h"

namespace moegrad {
namespace {

// x - target
Tensor residual(const char* op, const Tensor& x, const Tensor& target) {
  check_loss_operands(op, x, target);
  return x - target;
}

// With q = d cut off at +-delta, q (d - q / 2) is d^2 / 2 inside and delta (|d| - delta / 2) outside.
Tensor huber(const Tensor& d, double delta) {
  const Tensor q = clamp(d, -delta, delta);
  return q * (d - q * 0.5);
}

}  // namespace

void check_loss_operands(const char* op, const Tensor& x, const Tensor& target) {
  check_same_device(op, x, target);
  check_same_dtype(op, x, target);
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  if (x.shape() != target.shape())
    throw ShapeError(fmt::format("{}: x and target must have one shape; got x {} and target {}", op,
                                 to_string(x.shape()), to_string(target.shape())));
}

Tensor reduce_loss(const char* op, const Tensor& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  const bool by_rows = reduction == Reduction::batch_mean;
  const i64 count = !by_rows ? losses.size() : losses.rank() > 0 ? losses.dim(0) : 0;
  if (reduction != Reduction::sum && count == 0)
    throw ShapeError(fmt::format("{}: there must be {} to average over; got losses {}", op,
                                 by_rows ? "a first axis" : "elements", to_string(losses.shape())));
  if (reduction == Reduction::mean) return mean(losses);
  if (reduction == Reduction::sum) return sum(losses);
  if (losses.dtype() == DType::bf16) return narrow(reduce_loss(op, widen(losses), reduction));
  return sum(losses) * (1.0 / static_cast<double>(count));
}

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return reduce_loss("mse_loss", square(residual("mse_loss", x, target)), reduction);
}

Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  return reduce_loss("l1_loss", abs(residual("l1_loss", x, target)), reduction);
}

Tensor huber_loss(const Tensor& x, const Tensor& target, double delta, Reduction reduction) {
  if (!(delta > 0)) throw Error(fmt::format("huber_loss: delta must be > 0; got delta = {}", delta));
  return reduce_loss("huber_loss", huber(residual("huber_loss", x, target), delta), reduction);
}

Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta, Reduction reduction) {
  if (!(beta >= 0)) throw Error(fmt::format("smooth_l1_loss: beta must be >= 0; got beta = {}", beta));
  const Tensor d = residual("smooth_l1_loss", x, target);
  return reduce_loss("smooth_l1_loss", beta == 0 ? abs(d) : huber(d, beta) * (1 / beta), reduction);
}

}  // namespace moegrad
