#include "nn/dropout.h"

#include <fmt/format.h>

#include "ops/dropout.h"

namespace moegrad {

Dropout::Dropout(double probability) : p(probability) {
  if (!(p >= 0 && p < 1)) throw Error(fmt::format("dropout: p must be in [0, 1); got {}", p));
}

Tensor Dropout::forward(const Tensor& x, Context& context) const {
  return context.training && p > 0 ? dropout(x, p, context.draw()) : x;
}

}  // namespace moegrad
