#include "ops/random.h"

#include <fmt/format.h>

#include <cmath>

#include "core/random_fill.h"

namespace moegrad {
namespace {
random::Key key_of(const Draw& draw) { return {draw.seed, draw.number, draw.step.data<i64>()}; }
}  // namespace

Tensor random_uniform(const Shape& shape, double low, double high, const Draw& draw, DType dtype) {
  if (!std::isfinite(high - low) || low > high)
    throw Error(fmt::format("random_uniform: low <= high must be finite; got {} and {}", low, high));
  if (!is_float(dtype)) throw_dtype("random_uniform", "f32 or f64", dtype);
  Tensor y = empty(shape, dtype, draw.step.device());
  with_float("random_uniform", dtype, [&]<class F>() {
    MOEGRAD_LAUNCH(y.device(), fill_uniform, y.data<F>(), y.size(), key_of(draw), static_cast<F>(low),
                   static_cast<F>(high));
  });
  return y;
}

Tensor random_normal(const Shape& shape, double mean, double deviation, const Draw& draw, DType dtype) {
  if (!std::isfinite(mean) || !std::isfinite(deviation) || deviation < 0)
    throw Error(fmt::format("random_normal: mean and deviation >= 0 must be finite; got {} and {}", mean, deviation));
  if (!is_float(dtype)) throw_dtype("random_normal", "f32 or f64", dtype);
  Tensor y = empty(shape, dtype, draw.step.device());
  with_float("random_normal", dtype, [&]<class F>() {
    MOEGRAD_LAUNCH(y.device(), fill_normal, y.data<F>(), y.size(), key_of(draw), static_cast<F>(mean),
                   static_cast<F>(deviation));
  });
  return y;
}

}  // namespace moegrad
