#include "nn/moe/coordinate_descent.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/ops.h"

namespace moegrad {
namespace {

constexpr const char* kName = "coordinate_descent";

void check_arguments(const Tensor& x, double k, const Tensor& mask, const CoordinateDescentOptions& options) {
  if (!is_float(x.dtype())) throw_dtype(kName, "f32, f64 or bf16", x.dtype());
  if (x.rank() == 0 || !(k > 0 && k <= static_cast<double>(x.dim(-1))))
    throw ShapeError(
        fmt::format("{}: x must be [.., n] with k in (0, n]; got {}, k = {}", kName, to_string(x.shape()), k));
  if (mask && mask.dtype() != DType::boolean) throw_dtype(kName, "bool (mask)", mask.dtype());
  if (mask && mask.shape() != x.shape())
    throw ShapeError(fmt::format("{}: mask must have the shape of x {}; got {}", kName, to_string(x.shape()),
                                 to_string(mask.shape())));
  check_options(kName, options);
}

// Elements that do not count. A row that is masked entirely is computed as if it had no mask, so that it stays finite.
Tensor closed_elements(const Tensor& mask) { return logical_and(logical_not(mask), any(mask, -1, keep_dims)); }

}  // namespace

void check_options(const char* who, const CoordinateDescentOptions& o) {
  const auto check = [who](bool ok, const char* rule, double got) {
    if (!ok) throw Error(fmt::format("{}: {}; got {}", who, rule, got));
  };
  check(o.iterations >= 1, "iterations must be >= 1", static_cast<double>(o.iterations));
  check(o.eps > 0 && std::isfinite(o.eps), "eps must be above 0 and finite", o.eps);
  check(o.eps_first >= 0 && std::isfinite(o.eps_first), "eps_first must be >= 0 and finite", o.eps_first);
  check(o.eps_decay > 0 && o.eps_decay <= 1, "eps_decay must be in (0, 1]", o.eps_decay);
}

Tensor coordinate_descent(const Tensor& x_any, double k, const Tensor& mask, const CoordinateDescentOptions& options) {
  check_arguments(x_any, k, mask, options);
  Tensor x = widen(x_any), closed;
  if (mask) {
    x = masked_fill(x, logical_not(mask), 0);
    closed = closed_elements(mask);
  }
  double eps = 1, next = std::max(options.eps, options.eps_first);
  Tensor with_a, b = neg(x);  // x + a
  for (i64 t = 0; t < options.iterations; ++t) {
    eps = next;
    next = std::max(options.eps, eps * options.eps_decay);
    Tensor exponent = (x + b) * (1 / eps);
    if (mask) exponent = masked_fill(exponent, closed, -std::numeric_limits<double>::infinity());
    with_a = x + (std::log(k) - logsumexp(exponent, -1, keep_dims)) * eps;
    b = neg(relu(with_a));
  }
  const Tensor y = exp((with_a + b) * (1 / eps));
  return mask ? masked_fill(y, logical_not(mask), 0) : y;
}

}  // namespace moegrad
