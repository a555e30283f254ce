#include "ops/cross_entropy.h"

#include <fmt/format.h>

#include <limits>

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/math.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/gather.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// Which loss, and what it calls its first operand.
struct Caller {
  const char *op, *input;
};
constexpr Caller kCrossEntropy{"cross_entropy", "logits"}, kNll{"nll_loss", "log_p"};

void check_operands(const Caller& c, const Tensor& x, const Tensor& targets, const Tensor& weight) {
  check_same_device(c.op, x, targets);
  if (!is_float(x.dtype()))
    throw DTypeError(fmt::format("{}: {} must be f32, f64 or bf16; got {}", c.op, c.input, describe(x)));
  if (!weight) return;
  check_same_device(c.op, x, weight);
  check_same_dtype(c.op, x, weight);
}

// The shape rule; returns x with its classes last.
Tensor checked_input(const Caller& c, const Tensor& x_any, const Tensor& targets, const Tensor& weight, int axis) {
  check_operands(c, x_any, targets, weight);
  if (targets.dtype() != DType::i64)
    throw DTypeError(fmt::format("{}: targets must be i64; got {}", c.op, describe(targets)));
  const Tensor x = x_any.rank() == 0 ? x_any : move_axis(x_any, check_axis(c.op, x_any.shape(), axis), -1);
  const bool fits = x.rank() > 0 && x.dim(-1) > 0 && targets.shape() == Shape(x.shape().begin(), x.shape().end() - 1);
  if (!fits)
    throw ShapeError(fmt::format("{}: {} must be [.., V] with V >= 1 and targets [..]; got {} {} and targets {}", c.op,
                                 c.input, c.input, to_string(x.shape()), to_string(targets.shape())));
  if (weight && weight.shape() != Shape{x.dim(-1)})
    throw ShapeError(fmt::format("{}: weight must be [V]; got weight {} for {} {}", c.op, to_string(weight.shape()),
                                 c.input, to_string(x.shape())));
  return x;
}

template <class Options> Options widened(Options options) {
  options.weight = widen(options.weight);
  return options;
}

void check_smoothing(double smoothing) {
  if (!(smoothing >= 0 && smoothing <= 1))
    throw Error(fmt::format("cross_entropy: label_smoothing must be in [0, 1]; got {}", smoothing));
}

// On a GPU the next operation that waits throws. Until then a row whose target is no class is skipped.
void check_values(const char* op, const Tensor& targets, i64 classes, i64 ignore_index) {
  const auto rule = [&] {
    return fmt::format("{}: targets must be in [0, {}) or the ignored index {}", op, classes, ignore_index);
  };
  if constexpr (kWithCuda)
    if (targets.device() == Device::cuda)
      return cuda::check_targets(targets.data<i64>(), targets.size(), classes, ignore_index,
                                 cuda::fault_number(rule()));
  const i64* t = targets.data<i64>();
  for (i64 i = 0; i < targets.size(); ++i) {
    if ((t[i] >= 0 && t[i] < classes) || t[i] == ignore_index) continue;
    Shape at = targets.shape();
    i64 rest = i;
    for (int a = targets.rank() - 1; a >= 0; --a) {
      at[a] = rest % targets.shape()[a];
      rest /= targets.shape()[a];
    }
    throw IndexError(fmt::format("{}; got {} at {}", rule(), t[i], to_string(at)));
  }
}

// Which targets are not ignored. The index in two halves, because a double holds no more than 2^53.
Tensor counted(const Tensor& targets, i64 ignore_index) {
  const auto whole = [&](i64 n) { return scalar(static_cast<double>(n), DType::i64, targets.device()); };
  constexpr i64 half = i64{1} << 32;
  const i64 high = ignore_index >> 32;
  return ne(targets, whole(high) * whole(half) + whole(ignore_index - high * half));
}

// Targets as indices into the classes: -1, which takes a zero, in ignored rows.
Tensor class_index(const Tensor& targets, i64 ignore_index) {
  const Tensor counts = counted(targets, ignore_index);
  return targets * counts - cast(logical_not(counts), DType::i64);
}
Tensor at_class(const Tensor& x, const Tensor& index) { return squeeze(take_along(x, -1, unsqueeze(index, -1)), -1); }

// The loss of each row in public ops.
Tensor twin(const Tensor& logits, const Tensor& targets, const CrossEntropyRows& plan) {
  const Tensor log_p = log_softmax(logits, -1);
  const Tensor own = at_class(log_p, class_index(targets, plan.ignore_index));
  if (plan.smoothing == 0) return neg(own);
  return own * (plan.smoothing - 1) - mean(log_p, -1) * counted(targets, plan.ignore_index) * plan.smoothing;
}

Grads gradients(const GradArgs& g, const CrossEntropyRows& plan) {
  const Tensor x = g.in(0), targets = g.in(1), lse = g.extra(0), dy = contiguous(g.dy), dx = empty_like(x);
  with_wide("cross_entropy", x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), cross_entropy_gradient, x.data<F>(), targets.data<i64>(), lse.data<F>(), dy.data<F>(),
                   dx.data<F>(), plan);
  });
  return {dx, Tensor{}};
}

Tensor row_losses(const Tensor& x, const Tensor& targets, const CrossEntropyRows& plan) {
  const Tensor loss = empty(targets.shape(), x.dtype(), x.device()), lse = empty_like(loss);
  with_wide("cross_entropy", x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), cross_entropy_rows, x.data<F>(), targets.data<i64>(), loss.data<F>(), lse.data<F>(),
                   plan);
  });
  return fused(
      "cross_entropy", loss, {x, targets}, saves(kNone, {lse}),
      [plan](const GradArgs& g) { return gradients(g, plan); },
      [plan](std::span<const Tensor> in) { return twin(in[0], in[1], plan); },
      [plan] { return fmt::format("label_smoothing = {}, ignore_index = {}", plan.smoothing, plan.ignore_index); });
}

}  // namespace

namespace {

// Losses of rows that count `amounts`, 0 where they are ignored. What a mean divides by stays on the device.
Tensor reduce_rows(const char* op, const Tensor& losses, const Tensor& amounts, Reduction reduction) {
  if (reduction != Reduction::mean) return reduce_loss(op, losses, reduction);
  const Tensor amount = sum(cast(amounts, losses.dtype()));
  return sum(losses) * reciprocal(amount + eq(amount, scalar_like(0, amount)));
}

// Losses from log-probabilities, with the weights of the classes.
Tensor weighted_losses(const char* op, const Tensor& log_p, const Tensor& targets, const CrossEntropyOptions& options) {
  const Tensor index = class_index(targets, options.ignore_index), weight = options.weight.detach();
  const Tensor amounts = index_select(weight, 0, index);
  Tensor losses = neg(at_class(log_p, index) * amounts);
  if (const double s = options.label_smoothing; s > 0) {
    const Tensor even = mean(log_p * weight, -1) * counted(targets, options.ignore_index);
    losses = losses * (1 - s) - even * s;
  }
  return reduce_rows(op, losses, amounts, options.reduction);
}

// The loss where all classes have probabilities.
Tensor soft_cross_entropy(const Tensor& logits_any, const Tensor& targets_any, const CrossEntropyOptions& options) {
  check_operands(kCrossEntropy, logits_any, targets_any, options.weight);
  check_same_dtype("cross_entropy", logits_any, targets_any);
  if (logits_any.shape() != targets_any.shape() || logits_any.rank() == 0)
    throw ShapeError(
        fmt::format("cross_entropy: logits and probabilities must be [.., V]; got logits {} and targets {}",
                    to_string(logits_any.shape()), to_string(targets_any.shape())));
  const int axis = check_axis("cross_entropy", logits_any.shape(), options.axis);
  if (logits_any.dtype() == DType::bf16)
    return narrow(soft_cross_entropy(widen(logits_any), widen(targets_any), widened(options)));
  const Tensor logits = move_axis(logits_any, axis, -1), targets = move_axis(targets_any, axis, -1);
  const i64 classes = logits.dim(-1);
  if (classes == 0)
    throw ShapeError(fmt::format("cross_entropy: there must be classes; got axis {} of logits {}", axis,
                                 to_string(logits_any.shape())));
  if (options.weight && options.weight.shape() != Shape{classes})
    throw ShapeError(fmt::format("cross_entropy: weight must be [V]; got weight {} for logits {}",
                                 to_string(options.weight.shape()), to_string(logits.shape())));
  Tensor q = targets;
  if (const double s = options.label_smoothing; s > 0) q = q * (1 - s) + s / static_cast<double>(classes);
  if (options.weight) q = q * options.weight.detach();
  const Tensor losses = neg(sum(q * log_softmax(logits, -1), -1));
  const bool none = losses.size() == 0 && options.reduction == Reduction::mean;
  return reduce_loss("cross_entropy", losses, none ? Reduction::sum : options.reduction);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits_any, const Tensor& targets_any, const CrossEntropyOptions& options) {
  check_smoothing(options.label_smoothing);
  if (is_float(targets_any.dtype())) return soft_cross_entropy(logits_any, targets_any, options);
  const Tensor logits = checked_input(kCrossEntropy, logits_any, targets_any, options.weight, options.axis);
  if (logits.dtype() == DType::bf16) return narrow(cross_entropy(widen(logits_any), targets_any, widened(options)));
  const Tensor targets = contiguous(targets_any);
  check_values("cross_entropy", targets, logits.dim(-1), options.ignore_index);
  if (options.weight) return weighted_losses("cross_entropy", log_softmax(logits, -1), targets, options);
  const CrossEntropyRows plan{targets.size(), logits.dim(-1), options.label_smoothing, options.ignore_index};
  const Tensor losses = row_losses(contiguous(logits), targets, plan);
  return reduce_rows("cross_entropy", losses, counted(targets, options.ignore_index), options.reduction);
}

Tensor nll_loss(const Tensor& log_p_any, const Tensor& targets_any, const NllOptions& options) {
  const Tensor log_p = checked_input(kNll, log_p_any, targets_any, options.weight, options.axis);
  if (log_p.dtype() == DType::bf16) return narrow(nll_loss(widen(log_p_any), targets_any, widened(options)));
  const Tensor targets = contiguous(targets_any);
  check_values("nll_loss", targets, log_p.dim(-1), options.ignore_index);
  const Tensor weight = options.weight ? options.weight : ones({log_p.dim(-1)}, log_p.dtype(), log_p.device());
  return weighted_losses("nll_loss", log_p, targets,
                         {.ignore_index = options.ignore_index, .reduction = options.reduction, .weight = weight});
}

// ---- CPU kernels

namespace {
constexpr i64 kGrain = 4096;  // elements per thread: about 5 us

bool is_class(i64 target, const CrossEntropyRows& plan) {
  return target >= 0 && target < plan.classes && target != plan.ignore_index;
}
}  // namespace

template <class F>
void cpu::cross_entropy_rows(const F* x, const i64* target, F* loss, F* lse, const CrossEntropyRows& plan) {
  const i64 n = plan.classes;
  const F smoothing = static_cast<F>(plan.smoothing);
  parallel_for(plan.rows, kGrain / n + 1, [&](i64 begin, i64 end) {
    for (i64 r = begin; r < end; ++r) {
      loss[r] = lse[r] = 0;
      if (!is_class(target[r], plan)) continue;
      const F* row = x + r * n;
      F top = -std::numeric_limits<F>::infinity(), total = 0, sum = 0;
#pragma omp simd reduction(max : top)
      for (i64 i = 0; i < n; ++i) top = row[i] > top ? row[i] : top;
#pragma omp simd reduction(+ : total)
      for (i64 i = 0; i < n; ++i) total += math::exp(row[i] - top);
      const F log_total = math::log(total);
      lse[r] = top + log_total;
      loss[r] = log_total - (1 - smoothing) * (row[target[r]] - top);
      if (smoothing == 0) continue;
#pragma omp simd reduction(+ : sum)
      for (i64 i = 0; i < n; ++i) sum += row[i] - top;
      loss[r] -= smoothing * (sum / static_cast<F>(n));
    }
  });
}

// loss = lse - (1 - s) x_target - s mean(x);  d lse / d x_i = e^(x_i - lse)
template <class F>
void cpu::cross_entropy_gradient(const F* x, const i64* target, const F* lse, const F* dy, F* dx,
                                 const CrossEntropyRows& plan) {
  const i64 n = plan.classes;
  const F smoothing = static_cast<F>(plan.smoothing), floor = smoothing / static_cast<F>(n);
  parallel_for(plan.rows, kGrain / n + 1, [&](i64 begin, i64 end) {
    for (i64 r = begin; r < end; ++r) {
      const F* row = x + r * n;
      F* to = dx + r * n;
      if (!is_class(target[r], plan)) {
        std::fill_n(to, n, F(0));
        continue;
      }
      const F d = dy[r], shift = lse[r];
#pragma omp simd
      for (i64 i = 0; i < n; ++i) to[i] = d * (math::exp(row[i] - shift) - floor);
      to[target[r]] -= d * (1 - smoothing);
    }
  });
}

}  // namespace moegrad
