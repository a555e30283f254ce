// Gradients of a layer with respect to its input and all of its parameters at once.
#pragma once
#include <doctest/doctest.h>

#include "nn/module.h"
#include "ops/autodiff/gradcheck.h"
#include "tests/support/check_op.h"

namespace moegrad::test {

/// Central differences of forward(x) in x and in every parameter of the module, whose dtype must be f64. Parameters are
/// replaced by random values in [-1, 1], so that no gradient is small by accident.
inline void check_module(Module& module, const Tensor& x, const std::function<Tensor(const Tensor&)>& forward,
                         const GradcheckOptions& options = {}) {
  std::vector<Tensor> inputs;
  if (is_float(x.dtype())) inputs.push_back(x);
  const auto first = inputs.size();
  const std::vector<Member> parameters = module.named_parameters();
  for (const Member& p : parameters) inputs.push_back(random_tensor(p.tensor->shape(), 100 + inputs.size()));
  const auto function = [&](const std::vector<Tensor>& in) {
    for (std::size_t i = 0; i < parameters.size(); ++i) *parameters[i].tensor = in[first + i];
    return forward(first == 1 ? in[0] : x);
  };
  CHECK_GRADIENTS(function, inputs, options);
}

}  // namespace moegrad::test
