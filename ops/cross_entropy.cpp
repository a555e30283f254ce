#include "ops/cross_entropy.h"

#include <fmt/format.h>

#include <limits>

#include "core/autograd.h"
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

void check_shapes(const Tensor& logits, const Tensor& targets, const CrossEntropyOptions& options) {
  check_same_device("cross_entropy", logits, targets);
  if (!is_float(logits.dtype()))
    throw DTypeError(fmt::format("cross_entropy: logits must be f32 or f64; got {}", describe(logits)));
  if (targets.dtype() != DType::i64)
    throw DTypeError(fmt::format("cross_entropy: targets must be i64; got {}", describe(targets)));
  const bool fits = logits.rank() > 0 && logits.dim(-1) > 0 &&
                    targets.shape() == Shape(logits.shape().begin(), logits.shape().end() - 1);
  if (!fits)
    throw ShapeError(
        fmt::format("cross_entropy: logits must be [.., V] with V >= 1 and targets [..]; got logits {} and targets {}",
                    to_string(logits.shape()), to_string(targets.shape())));
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    throw Error(fmt::format("cross_entropy: label_smoothing must be in [0, 1]; got {}", options.label_smoothing));
}

// Where values can be read without a synchronisation. On other devices the kernel skips a row whose target is no class.
void check_values(const Tensor& targets, i64 classes, i64 ignore_index) {
  if (targets.device() != Device::cpu) return;
  const i64* t = targets.data<i64>();
  for (i64 i = 0; i < targets.size(); ++i) {
    if ((t[i] >= 0 && t[i] < classes) || t[i] == ignore_index) continue;
    Shape at = targets.shape();
    i64 rest = i;
    for (int a = targets.rank() - 1; a >= 0; --a) {
      at[a] = rest % targets.shape()[a];
      rest /= targets.shape()[a];
    }
    throw IndexError(fmt::format("cross_entropy: targets must be in [0, {}) or the ignored index {}; got {} at {}",
                                 classes, ignore_index, t[i], to_string(at)));
  }
}

Tensor counted(const Tensor& targets, i64 ignore_index) {
  return ne(targets, scalar(static_cast<double>(ignore_index), DType::i64, targets.device()));
}

// The loss of each row in public ops. An ignored row takes no element: take_along has zeros for index -1.
Tensor twin(const Tensor& logits, const Tensor& targets, const CrossEntropyRows& plan) {
  const Tensor log_p = log_softmax(logits, -1), counts = counted(targets, plan.ignore_index);
  const Tensor index = targets * counts - cast(logical_not(counts), DType::i64);
  const Tensor own = squeeze(take_along(log_p, -1, unsqueeze(index, -1)), -1);
  if (plan.smoothing == 0) return neg(own);
  return own * (plan.smoothing - 1) - mean(log_p, -1) * counts * plan.smoothing;
}

Grads gradients(const GradArgs& g, const CrossEntropyRows& plan) {
  const Tensor x = g.in(0), targets = g.in(1), lse = g.extra(0), dy = contiguous(g.dy), dx = empty_like(x);
  with_float("cross_entropy", x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), cross_entropy_gradient, x.data<F>(), targets.data<i64>(), lse.data<F>(), dy.data<F>(),
                   dx.data<F>(), plan);
  });
  return {dx, Tensor{}};
}

Tensor row_losses(const Tensor& x, const Tensor& targets, const CrossEntropyRows& plan) {
  const Tensor loss = empty(targets.shape(), x.dtype(), x.device()), lse = empty_like(loss);
  with_float("cross_entropy", x.dtype(), [&]<class F>() {
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

Tensor cross_entropy(const Tensor& logits, const Tensor& targets_any, CrossEntropyOptions options) {
  check_shapes(logits, targets_any, options);
  const Tensor targets = contiguous(targets_any);
  check_values(targets, logits.dim(-1), options.ignore_index);
  const CrossEntropyRows plan{targets.size(), logits.dim(-1), options.label_smoothing, options.ignore_index};
  const Tensor losses = row_losses(contiguous(logits), targets, plan);
  if (options.reduction == Reduction::none) return losses;
  const Tensor total = sum(losses);
  if (options.reduction == Reduction::sum) return total;
  const Tensor rows = cast(sum(counted(targets, options.ignore_index)), logits.dtype());
  return total * reciprocal(maximum(rows, scalar_like(1, rows)));  // the number of rows stays on the device
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
