#include "ops/probability_loss.h"

#include <fmt/format.h>

#include <limits>

#include "core/autograd.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/loops.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "ops/unary.h"
#include "ops/where.h"

namespace moegrad {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_weight(const char* op, const char* which, const Tensor& x, const Tensor& weight) {
  if (!weight) return;
  check_same_device(op, x, weight);
  check_same_dtype(op, x, weight);
  if (!broadcasts_to(weight.shape(), x.shape()))
    throw ShapeError(fmt::format("{}: {} must broadcast to x; got {} {} and x {}", op, which, which,
                                 to_string(weight.shape()), to_string(x.shape())));
}

Tensor weighted(const Tensor& losses, const Tensor& weight) { return weight ? losses * weight.detach() : losses; }

Tensor binary_cross_entropy(const Tensor& p, const Tensor& target) {
  const Tensor y = empty(p.shape(), p.dtype(), p.device());
  with_float("bce_loss", p.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(p.device(), map2, formula::BinaryCrossEntropy{}, p.data<F>(), target.data<F>(), y.data<F>(),
                   nest_over<3>(y.shape(), {&p, &target, &y}));
  });
  return record("bce_loss", y, {p, target}, saves(kX0 | kX1), [](const GradArgs& g) -> Grads {
    const Tensor q = g.in(0), t = g.in(1);
    const auto cut = [](Tensor (*logarithm)(const Tensor&), const Tensor& z) {
      const Tensor low = lt(logarithm(z), scalar_like(-100, z));
      return masked_fill(logarithm(masked_fill(z, low, 0.5)), low, -100);  // constant there: never 0 times 1 / 0
    };
    Tensor dp, dt;
    constexpr double least = 1e-12f;  // the f32 number, as PyTorch has it for every dtype
    if (g.needs(0)) dp = g.dy * (q - t) / clamp(q * (1.0 - q), least, kInfinity);
    if (g.needs(1)) dt = g.dy * (cut(log1p, neg(q)) - cut(log, q));
    return {dp, dt};
  });
}

}  // namespace

Tensor bce_loss(const Tensor& p, const Tensor& target, const BinaryLossOptions& options) {
  check_loss_operands("bce_loss", p, target);
  check_weight("bce_loss", "weight", p, options.weight);
  if (options.positive_weight)
    throw Error("bce_loss: positive_weight is for logits, see bce_with_logits_loss; got one");
  return reduce_loss("bce_loss", weighted(binary_cross_entropy(p, target), options.weight), options.reduction);
}

Tensor bce_with_logits_loss(const Tensor& x, const Tensor& target, const BinaryLossOptions& options) {
  check_loss_operands("bce_with_logits_loss", x, target);
  check_weight("bce_with_logits_loss", "weight", x, options.weight);
  check_weight("bce_with_logits_loss", "positive_weight", x, options.positive_weight);
  // 1 - sigmoid(x) = sigmoid(-x); log sigmoid(x) - x would be its logarithm, too, but cancels where that is tiny.
  const Tensor positive = weighted(target, options.positive_weight) * log_sigmoid(x);
  const Tensor losses = neg(positive + (1.0 - target) * log_sigmoid(neg(x)));
  return reduce_loss("bce_with_logits_loss", weighted(losses, options.weight), options.reduction);
}

Tensor kl_div_loss(const Tensor& x, const Tensor& target, Reduction reduction, bool log_target) {
  check_loss_operands("kl_div_loss", x, target);
  // Where the target is 0, both get some finite value, so that the gradient is finite, too.
  const Tensor absent = eq(target, scalar_like(log_target ? -kInfinity : 0, target));
  const Tensor present = masked_fill(target, absent, 1), log_q = masked_fill(x, absent, 0);
  const Tensor terms = log_target ? exp(present) * (present - log_q) : present * (log(present) - log_q);
  return reduce_loss("kl_div_loss", masked_fill(terms, absent, 0), reduction);
}

Tensor entropy(const Tensor& x, int axis_any) {
  const int axis = check_axis("entropy", x.shape(), axis_any);
  if (!is_float(x.dtype())) throw_dtype("entropy", kFloats, x.dtype());
  if (x.dim(axis) == 0)
    throw ShapeError(fmt::format("entropy: axis must not be empty; got axis {} of x {}", axis, to_string(x.shape())));
  if (x.dtype() == DType::bf16) return narrow(entropy(widen(x), axis));
  const Tensor log_p = log_softmax(x, axis), p = exp(log_p);
  return neg(sum(p * masked_fill(log_p, eq(p, scalar_like(0, p)), 0), axis));  // p log p goes to 0
}

}  // namespace moegrad
