#include "nn/moe/router_gate.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "nn/linear.h"
#include "ops/ops.h"

namespace moegrad {

RouterGate::RouterGate(i64 width, i64 experts, Options o, Init& init) : options(o) {
  const Shape shape = o.columns ? Shape{width, experts} : Shape{experts, width};
  weight = init.kaiming_uniform(shape, width, Linear::Options{}.gain);
  const double bound = 1 / std::sqrt(static_cast<double>(width));
  if (o.bias) bias = init.uniform({experts}, -bound, bound);
}

Tensor RouterGate::forward(const Tensor& x) const {
  const Tensor w = widen(weight);  // its transpose is a view
  return linear(widen(x), options.columns ? transpose(w) : w, bias ? widen(bias) : Tensor{});
}

void RouterGate::members(Members& m) {
  m.parameter(options.weight, weight);
  m.parameter(options.bias_name, bias);
}

void check_router_input(const char* who, const Tensor& x, i64 width, const Tensor& mask) {
  if (!is_float(x.dtype())) throw_dtype(who, "f32, f64 or bf16", x.dtype());
  if (x.rank() != 3 || x.dim(2) != width)
    throw ShapeError(fmt::format("{}: x must be [G, N, {}]; got {}", who, width, to_string(x.shape())));
  if (!mask) return;
  if (mask.dtype() != DType::boolean) throw_dtype(who, "bool (mask)", mask.dtype());
  if (mask.shape() != Shape{x.dim(0), x.dim(1)})
    throw ShapeError(
        fmt::format("{}: mask must be [G, N] = [{}, {}]; got {}", who, x.dim(0), x.dim(1), to_string(mask.shape())));
}

double lowest_score(const Tensor& x) {
  return x.dtype() == DType::f64 ? std::numeric_limits<double>::lowest()
                                 : static_cast<double>(std::numeric_limits<float>::lowest());
}

}  // namespace moegrad
