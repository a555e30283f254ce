#include "nn/vision/norm.h"

#include "ops/norm.h"

namespace moegrad {

AnyNorm::AnyNorm(i64 width, NormOptions o, Init& init) : options(o), weight(init.ones({width})) {
  if (o.kind == NormOptions::Kind::layer) bias = init.zeros({width});
}

Tensor AnyNorm::forward(const Tensor& x) const {
  return options.kind == NormOptions::Kind::layer ? layer_norm(x, weight, bias, options.eps)
                                                  : rms_norm(x, weight, options.eps);
}

void AnyNorm::members(Members& m) {
  m.parameter("weight", weight);
  m.parameter("bias", bias);
}

}  // namespace moegrad
