#include "nn/norm.h"

#include "ops/norm.h"

namespace moegrad {

LayerNorm::LayerNorm(i64 width, Init& init, double epsilon)
    : weight(init.ones({width})), bias(init.zeros({width})), eps(epsilon) {}

Tensor LayerNorm::forward(const Tensor& x) const { return layer_norm(x, weight, bias, eps); }

void LayerNorm::members(Members& m) {
  m.parameter("weight", weight);
  m.parameter("bias", bias);
}

RMSNorm::RMSNorm(i64 width, Init& init, double epsilon) : weight(init.ones({width})), eps(epsilon) {}

Tensor RMSNorm::forward(const Tensor& x) const { return rms_norm(x, weight, eps); }

}  // namespace moegrad
