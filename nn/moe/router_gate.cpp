#include "nn/moe/router_gate.h"

#include <cmath>

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

}  // namespace moegrad
