#include "ops/dropout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/cast.h"

namespace moegrad {

DropoutPlan plan_dropout(const char* op, double p, const Draw& draw) {
  if (!(p >= 0 && p <= 1)) throw Error(fmt::format("{}: p must be in [0, 1]; got p = {}", op, p));
  if (p == 0) return {};
  if (!draw.step) throw Error(fmt::format("{}: the draw must be one of a Random's; got an empty one", op));
  // u < p for u = word / 2^24, as random::uniform<float> has it, without the conversion
  return {{draw.seed, draw.number, draw.step.data<i64>()},
          static_cast<u32>(std::ceil(p * 0x1p24)),
          p < 1 ? 1 / (1 - p) : 0};
}

Tensor dropout(const Tensor& x_any, double p, const Draw& draw) {
  if (!is_float(x_any.dtype())) throw_dtype("dropout", kFloats, x_any.dtype());
  const DropoutPlan plan = plan_dropout("dropout", p, draw);
  if (p == 0) return x_any;
  check_same_device("dropout", x_any, draw.step);
  const Tensor x = contiguous(x_any), y = empty_like(x);
  with_float("dropout", x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), dropout_elements, x.data<F>(), y.data<F>(), x.size(), plan);
  });
  return record(
      "dropout", y, {x}, saves(kNone), [p, draw](const GradArgs& g) -> Grads { return {dropout(g.dy, p, draw)}; },
      [p] { return fmt::format("p = {}", p); });
}

// ---- CPU kernels

namespace {

constexpr i64 kBatch = 64;       // blocks that the generator makes in vectors
constexpr i64 kGrain = 1 << 13;  // elements per thread: about 10 us

}  // namespace

template <class F> void cpu::dropout_range(const F* x, F* y, i64 first, i64 n, const DropoutPlan& plan) {
  const u32 step = static_cast<u32>(*plan.key.step);
  using C = Computed<F>;
  const C scale = static_cast<C>(plan.scale);
  for (i64 at = first; at < first + n;) {
    const i64 block = at / 4, blocks = std::min(kBatch, (first + n - 1) / 4 - block + 1), skipped = at - 4 * block;
    u32 words[4][kBatch];  // one array per word, so that the loop over blocks has no shuffles
    for (i64 b = 0; b < blocks; ++b) {
      const random::Words w = random::philox(plan.key.seed, plan.key.draw, step, static_cast<u64>(block + b));
      for (int k = 0; k < 4; ++k) words[k][b] = w.word[k];
    }
    u32 kept[4 * kBatch];
    for (i64 b = 0; b < blocks; ++b)
      for (int k = 0; k < 4; ++k) kept[4 * b + k] = (words[k][b] >> 8) >= plan.threshold;
    const i64 count = std::min(4 * blocks - skipped, first + n - at);
    const F* from = x + (at - first);
    F* to = y + (at - first);
#pragma omp simd
    for (i64 i = 0; i < count; ++i) to[i] = convert<F>(kept[skipped + i] ? static_cast<C>(from[i]) * scale : C(0));
    at += count;
  }
}
template void cpu::dropout_range(const float*, float*, i64, i64, const DropoutPlan&);
template void cpu::dropout_range(const double*, double*, i64, i64, const DropoutPlan&);

template <class F> void cpu::dropout_elements(const F* x, F* y, i64 n, const DropoutPlan& plan) {
  parallel_for(n, kGrain, [&](i64 begin, i64 end) { dropout_range(x + begin, y + begin, begin, end - begin, plan); });
}

}  // namespace moegrad
