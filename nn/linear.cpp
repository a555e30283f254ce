#include "nn/linear.h"

#include <cmath>

#include "ops/matmul.h"

namespace moegrad {

Linear::Linear(i64 in, i64 out, Init& init, Options options)
    : weight(init.kaiming_uniform({out, in}, in, options.gain)) {
  if (options.bias) bias = init.kaiming_uniform({out}, in, 1 / std::sqrt(3.0));
}

Tensor Linear::forward(const Tensor& x) const { return linear(x, weight, bias); }

void Linear::members(Members& m) {
  m.parameter("weight", weight);
  m.parameter("bias", bias);
}

}  // namespace moegrad
