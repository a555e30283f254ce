#include "nn/norm.h"

#include "ops/cast.h"
#include "ops/norm.h"
#include "ops/normalize.h"

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

GammaNorm::GammaNorm(i64 width, Kind kind, Init& init) : gamma(init.ones({width})) {
  if (kind == Kind::layer) beta = init.zeros({width}).detach();
}

Tensor GammaNorm::forward(const Tensor& x) const {
  const bool wide = x.dtype() == DType::f32;
  const Tensor w = wide ? widen(gamma) : gamma, b = wide ? widen(beta) : beta;
  return b ? layer_norm(x, w, b) : rms_norm_l2(x, w);
}

void GammaNorm::members(Members& m) {
  m.parameter("gamma", gamma);
  m.buffer("beta", beta);
}

}  // namespace moegrad
