// Activations, and what their gradients are made of.
#include "cuda/elementwise.cuh"
#include "ops/activation.h"

namespace moegrad::cuda {
namespace f = formula;

MOEGRAD_MAP1_FLOATS(f::Relu)
MOEGRAD_MAP1_FLOATS(f::Gelu)
MOEGRAD_MAP1_FLOATS(f::GeluTanh)
MOEGRAD_MAP1_FLOATS(f::Silu)
MOEGRAD_MAP1_FLOATS(f::Softplus)
MOEGRAD_MAP1_FLOATS(f::LogSigmoid)
MOEGRAD_MAP1_FLOATS(f::Softsign)
MOEGRAD_MAP1_FLOATS(f::Mish)
MOEGRAD_MAP1_FLOATS(f::Elu)
MOEGRAD_MAP1_FLOATS(f::LeakyRelu)

MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Relu>)
MOEGRAD_MAP2_FLOATS(f::SlopeTimes<f::Gelu>)
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
