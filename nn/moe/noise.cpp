#include "nn/moe/noise.h"

#include <fmt/format.h>

#include <cmath>

#include "core/choose.h"
#include "nn/moe/k_subset.h"
#include "nn/moe/quiet_routers.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

void check_setting(const char* what, double value, bool ok, const char* rule) {
  if (!ok || !std::isfinite(value)) throw Error(fmt::format("RouterNoise: {} must be {}; got {}", what, rule, value));
}

const RouterNoise::Options& checked(const RouterNoise::Options& o) {
  check_setting("scale", o.scale, o.scale >= 0, ">= 0");
  check_setting("temperature", o.temperature, o.temperature > 0, "> 0");
  check_setting("floor", o.floor, o.floor >= 0, ">= 0");
  check_setting("amount", o.amount, o.amount >= 0 && o.amount <= 1, "in [0, 1]");
  check_setting("initial_gain", o.initial_gain, o.initial_gain >= 0, ">= 0");
  return o;
}

}  // namespace

RouterNoise::RouterNoise(i64 width, i64 experts, Options o, Init& init) : options(checked(o)) {
  if (o.kind != RouterNoiseKind::gaussian) return;
  weight = o.initial_gain > 0 ? init.normal({width, experts}, o.initial_gain) : init.zeros({width, experts});
}

void RouterNoise::members(Members& m) { m.parameter("weight", weight); }

Tensor RouterNoise::input(const Tensor& x, Context& context) const {
  if (!context.training || options.kind != RouterNoiseKind::jitter) return x;
  const Tensor u = router_noise(context, Noise::uniform, x.shape(), x.dtype());
  return x * (u * (2 * options.amount) + (1 - options.amount));
}

Tensor RouterNoise::deviation(const Tensor& x, Context& context) const {
  if (!context.training || options.kind != RouterNoiseKind::gaussian) return {};
  return (softplus(matmul(x, cast(weight, x.dtype()))) + options.floor) * options.scale;
}

NoisyScores RouterNoise::forward(const Tensor& x, const Tensor& clean, i64 k, Context& context) const {
  return apply(clean, deviation(x, context), k, context);
}

Tensor RouterNoise::logits(const Tensor& clean, const Tensor& deviation, Context& context) const {
  const auto draw = [&](Noise kind) { return router_noise(context, kind, clean.shape(), clean.dtype()); };
  if (context.training && options.kind == RouterNoiseKind::gumbel)
    return (clean + draw(Noise::gumbel) * options.scale) / options.temperature;
  if (context.training && options.kind == RouterNoiseKind::gaussian) return clean + draw(Noise::normal) * deviation;
  return clean;
}

NoisyScores RouterNoise::apply(const Tensor& clean, const Tensor& deviation, i64 k, Context& context) const {
  NoisyScores y{logits(clean, deviation, context), {}, deviation};
  if (!context.training || options.kind != RouterNoiseKind::simple) {
    y.probabilities = softmax(y.logits, -1);
    return y;
  }
  Shape shape{clean.dim(-1)};  // [E, ..]
  for (int a = 0; a + 1 < clean.rank(); ++a) shape.push_back(clean.dim(a));
  y.probabilities = simple_k_subset(clean, k, router_noise(context, Noise::uniform, shape, clean.dtype()));
  return y;
}

// ---- load

namespace {

// The score that decides about each expert of a token, [G, N, E]: the k-th largest of the others. That is the
// (k+1)-th largest of all for those in the first k, and the k-th for the rest.
Tensor noisy_thresholds(const Tensor& noisy, i64 k) {
  const Ordered best = top_k(noisy, k + 1, -1);
  const Tensor times = dense(sum(one_hot(slice(best.indices, -1, {0, k}), noisy.dim(-1)), -2));
  const Tensor in = gt(times, scalar_like(0, times));
  return where(in, slice(best.values, -1, {k, k + 1}), slice(best.values, -1, {k - 1, k}));
}

Tensor clean_thresholds(const Tensor& clean, const Tensor& noisy, i64 k) {
  const Tensor best = top_k(clean, k + 1, -1).values;
  const Tensor next = slice(best, -1, {k, k + 1}), last = slice(best, -1, {k - 1, k});
  const Tensor in = choose(
      "noisy_top_k_load", noisy - next, [&] { return cast(gt(noisy, next), DType::i64); },
      [&](const Tensor&) { return amin(abs(noisy - next)).item(); });
  return where(gt(in, scalar_like(0, in)), next, last);
}

}  // namespace

Tensor noisy_top_k_load(const Tensor& clean, const NoisyScores& noisy, i64 k, const Tensor& mask, LoadOptions options) {
  const Shape& shape = clean.shape();
  if (shape.rank() != 3 || noisy.logits.shape() != shape || !noisy.deviation || noisy.deviation.shape() != shape)
    throw ShapeError(fmt::format(
        "noisy_top_k_load: clean, noisy and deviation must be [G, N, E] alike; got {}, {} and {}", to_string(shape),
        to_string(noisy.logits.shape()), noisy.deviation ? to_string(noisy.deviation.shape()) : "no deviation"));
  if (k < 1 || k > shape[2])
    throw ShapeError(fmt::format("noisy_top_k_load: k must be in [1, {}]; got {}", shape[2], k));
  if (mask && mask.dtype() != DType::boolean) throw_dtype("noisy_top_k_load", "bool (mask)", mask.dtype());
  if (mask && (mask.rank() != 2 || mask.dim(0) != shape[0] || mask.dim(1) != shape[1]))
    throw ShapeError(fmt::format("noisy_top_k_load: mask must be [G, N] = [{}, {}]; got {}", shape[0], shape[1],
                                 to_string(mask.shape())));
  Tensor p;  // [G, N, E]
  if (k == shape[2]) {
    p = ones(shape, clean.dtype(), clean.device());  // whatever the noise is
  } else {
    const Tensor threshold = options.thresholds == LoadOptions::Thresholds::noisy
                                 ? noisy_thresholds(noisy.logits, k)
                                 : clean_thresholds(clean, noisy.logits, k);
    p = normal_cdf((clean - threshold) / maximum(noisy.deviation, scalar_like(1e-10, noisy.deviation)));
  }
  if (mask) p = masked_fill(p, logical_not(unsqueeze(mask, -1)), 0);
  return sum(p, 1);
}

}  // namespace moegrad
