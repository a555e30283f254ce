#include "nn/init.h"

#include <cmath>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/compare.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/where.h"

namespace moegrad {

// One element seen at every position: a real tensor of that shape, whatever its size.
Tensor Init::shape_only(const Shape& shape) const {
  check_sizes("init", shape);
  return view_of(moegrad::zeros({1}, dtype_), shape, Strides(shape.rank(), 0), 0).requires_grad_();
}

Tensor Init::constant(const Shape& shape, double value) {
  return random_ ? full(shape, value, dtype_).requires_grad_() : shape_only(shape);
}
Tensor Init::uniform(const Shape& shape, double low, double high) {
  return random_ ? random_uniform(shape, low, high, random_->next(), dtype_).requires_grad_() : shape_only(shape);
}
Tensor Init::normal(const Shape& shape, double deviation, double mean) {
  return random_ ? random_normal(shape, mean, deviation, random_->next(), dtype_).requires_grad_() : shape_only(shape);
}
Tensor Init::truncated_normal(const Shape& shape, double scale) {
  if (!random_) return shape_only(shape);
  const auto draw = [&] { return random_normal(shape, 0, 1, random_->next(), dtype_); };
  Tensor z = draw();
  // What lies outside is drawn again, about one in 22 each time.
  const Tensor limit = scalar(2, dtype_);
  for (Tensor outside = gt(abs(z), limit); z.size() > 0 && any(outside).item() != 0; outside = gt(abs(z), limit))
    z = where(outside, draw(), z);
  return (z * scale).requires_grad_();
}
Tensor Init::kaiming_uniform(const Shape& shape, i64 fan_in, double gain) {
  const double bound = fan_in > 0 ? gain * std::sqrt(3.0 / static_cast<double>(fan_in)) : 0;
  return uniform(shape, -bound, bound);
}
Tensor Init::xavier_uniform(const Shape& shape, i64 fan_in, i64 fan_out, double gain) {
  const double bound = fan_in + fan_out > 0 ? gain * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)) : 0;
  return uniform(shape, -bound, bound);
}

}  // namespace moegrad
