#include "ops/random.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random_fill.h"
#include "ops/cast.h"
#include "ops/unary.h"

namespace moegrad {
namespace {
random::Key key_of(const Draw& draw) { return {draw.seed, draw.number, draw.step.data<i64>()}; }

// Whether `dtype` holds v as a finite number. DTypeError, in the name of `op`, if it is no float.
bool is_finite(const char* op, double v, DType dtype) {
  return with_float(op, dtype, [v]<class F>() { return std::isfinite(convert<double>(convert<F>(v))); });
}

// The largest bf16 below v: what a number of [low, v) may be rounded to at most.
double largest_below(double v) {
  const bf16 near(v);
  if (convert<double>(near) < v) return convert<double>(near);
  const bool negative = (near.bits >> 15) != 0;
  const int next = near.bits == 0 ? 0x8001 : near.bits + (negative ? 1 : -1);
  return convert<double>(bf16::from_bits(static_cast<std::uint16_t>(next)));
}
}  // namespace

Tensor random_uniform(const Shape& shape, double low, double high, const Draw& draw, DType dtype) {
  const auto finite = [dtype](double v) { return is_finite("random_uniform", v, dtype); };
  if (!finite(low) || !finite(high) || !finite(high - low) || low > high)
    throw Error(fmt::format("random_uniform: low <= high and high - low must be finite in {}; got {} and {}",
                            name(dtype), low, high));
  if (dtype == DType::bf16) {
    const Tensor y = random_uniform(shape, low, high, draw);
    return narrow(clamp(y, low, std::max(low, largest_below(high))));
  }
  Tensor y = empty(shape, dtype, draw.step.device());
  with_wide("random_uniform", dtype, [&]<class F>() {
    MOEGRAD_LAUNCH(y.device(), fill_uniform, y.data<F>(), y.size(), key_of(draw), static_cast<F>(low),
                   static_cast<F>(high));
  });
  return y;
}

Tensor random_normal(const Shape& shape, double mean, double deviation, const Draw& draw, DType dtype) {
  const auto finite = [dtype](double v) { return is_finite("random_normal", v, dtype); };
  if (!finite(mean) || !finite(deviation) || deviation < 0)
    throw Error(fmt::format("random_normal: mean and deviation >= 0 must be finite in {}; got {} and {}", name(dtype),
                            mean, deviation));
  if (dtype == DType::bf16) return narrow(random_normal(shape, mean, deviation, draw));
  Tensor y = empty(shape, dtype, draw.step.device());
  with_wide("random_normal", dtype, [&]<class F>() {
    MOEGRAD_LAUNCH(y.device(), fill_normal, y.data<F>(), y.size(), key_of(draw), static_cast<F>(mean),
                   static_cast<F>(deviation));
  });
  return y;
}

Tensor random_integers(const Shape& shape, i64 low, i64 high, const Draw& draw, DType dtype) {
  return with_int("random_integers", dtype, [&]<class I>() {
    if (low >= high || low < std::numeric_limits<I>::lowest() || high - 1 > std::numeric_limits<I>::max())
      throw Error(
          fmt::format("random_integers: low < high must be in the range of {}; got {} and {}", name(dtype), low, high));
    Tensor to = empty(shape, dtype, draw.step.device());
    MOEGRAD_LAUNCH(to.device(), fill_integers, to.data<I>(), to.size(), key_of(draw), low,
                   static_cast<u64>(high) - static_cast<u64>(low));
    return to;
  });
}

Tensor random_permutation(i64 n, const Draw& draw) {
  if (n < 0) throw ShapeError(fmt::format("random_permutation: n must be >= 0; got {}", n));
  Tensor y = empty({n}, DType::i64, draw.step.device());
  MOEGRAD_LAUNCH(y.device(), fill_permutation, y.data<i64>(), n, key_of(draw));
  return y;
}

}  // namespace moegrad
