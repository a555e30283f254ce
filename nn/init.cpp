#include "nn/init.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/compare.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"
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

namespace {

// Makes `count` vectors of n numbers orthonormal, one after the other, each freed twice of what it shares with those
// before it: once is not exact in floating point.
void gram_schmidt(std::vector<double>& v, i64 count, i64 n) {
  const auto row = [&](i64 i) { return v.begin() + static_cast<std::ptrdiff_t>(i * n); };
  for (i64 i = 0; i < count; ++i) {
    for (int pass = 0; pass < 2; ++pass)
      for (i64 j = 0; j < i; ++j) {
        const double shared = std::inner_product(row(i), row(i + 1), row(j), 0.0);
        std::transform(row(i), row(i + 1), row(j), row(i), [&](double a, double b) { return a - shared * b; });
      }
    const double length = std::sqrt(std::inner_product(row(i), row(i + 1), row(i), 0.0));
    for (auto at = row(i); at != row(i + 1); ++at) *at /= length;
  }
}

}  // namespace

Tensor Init::orthogonal(const Shape& shape, double gain) {
  if (shape.rank() != 2)
    throw ShapeError(fmt::format("init: orthogonal: shape must be [rows, columns]; got {}", to_string(shape)));
  if (!random_) return shape_only(shape);
  const i64 rows = shape[0], columns = shape[1], count = std::min(rows, columns), n = std::max(rows, columns);
  auto v = random_normal({count, n}, 0, 1, random_->next(), DType::f64).to_vector<double>();
  gram_schmidt(v, count, n);
  for (double& x : v) x *= gain;
  const Tensor y = from_vector(v, {count, n}, dtype_);
  const Tensor w = rows <= columns ? y : from_vector(transpose(y).to_vector<double>(), shape, dtype_);
  return w.detach().requires_grad_();
}

}  // namespace moegrad
