// Activations, and what their gradients are made of.
#include "cuda/elementwise.cuh"
#include "cuda/rough_gelu.cuh"
#include "ops/activation.h"

namespace moegrad::cuda {
namespace f = formula;

template <> void map1(f::Gelu, const bf16* x, bf16* y, const Nest<2>& nest) {
  map_any(std::index_sequence<0>{}, RoughGelu{}, nest, y, x);
}
template <> void map2(f::SlopeTimes<f::Gelu>, const bf16* x, const bf16* dy, bf16* y, const Nest<3>& nest) {
  map_any(std::index_sequence<0, 1>{}, RoughGeluGradient{}, nest, y, x, dy);
}

MOEGRAD_MAP1_FLOATS(f::Relu)
MOEGRAD_MAP1(f::Gelu, float, float)
MOEGRAD_MAP1(f::Gelu, double, double)
MOEGRAD_MAP1_FLOATS(f::GeluTanh)
MOEGRAD_MAP1_FLOATS(f::Silu)
MOEGRAD_MAP1_FLOATS(f::Softplus)
MOEGRAD_MAP1_FLOATS(f::LogSigmoid)
MOEGRAD_MAP1_FLOATS(f::Softsign)
MOEGRAD_MAP1_FLOATS(f::Mish)
MOEGRAD_MAP1_FLOATS(f::Elu)
MOEGRAD_MAP1_FLOATS(f::LeakyRelu)

MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Relu>)
MOEGRAD_MAP2(f::SlopeTimes<f::Gelu>, float, float, float)
MOEGRAD_MAP2(f::SlopeTimes<f::Gelu>, double, double, double)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::GeluTanh>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Silu>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Softplus>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::LogSigmoid>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Softsign>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Mish>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Elu>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::LeakyRelu>)
MOEGRAD_MAP2_FLOATS(f::Gated<f::Silu>)
MOEGRAD_MAP2_FLOATS(f::Gated<f::Gelu>)

}  // namespace moegrad::cuda
