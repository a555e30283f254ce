// Activations, and what their gradients are made of.
#include "cuda/elementwise.cuh"
#include "ops/activation.h"

namespace moegrad::cuda {
namespace f = formula;

#define MOEGRAD_FLOATS(OP)         \
  MOEGRAD_MAP1(OP, float, float)   \
  MOEGRAD_MAP1(OP, double, double) \
  MOEGRAD_MAP1(OP, bf16, bf16)
MOEGRAD_FLOATS(f::Relu)
MOEGRAD_FLOATS(f::Gelu)
MOEGRAD_FLOATS(f::GeluTanh)
MOEGRAD_FLOATS(f::Silu)
MOEGRAD_FLOATS(f::Softplus)
MOEGRAD_FLOATS(f::LogSigmoid)
MOEGRAD_FLOATS(f::Softsign)
MOEGRAD_FLOATS(f::Mish)
MOEGRAD_FLOATS(f::Elu)
MOEGRAD_FLOATS(f::LeakyRelu)

#define MOEGRAD_FLOATS2(OP)                \
  MOEGRAD_MAP2(OP, float, float, float)    \
  MOEGRAD_MAP2(OP, double, double, double) \
  MOEGRAD_MAP2(OP, bf16, bf16, bf16)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Relu>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Gelu>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::GeluTanh>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Silu>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Softplus>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::LogSigmoid>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Softsign>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Mish>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::Elu>)
MOEGRAD_FLOATS2(f::SlopeTimes<f::LeakyRelu>)
MOEGRAD_FLOATS2(f::Gated<f::Silu>)
MOEGRAD_FLOATS2(f::Gated<f::Gelu>)

}  // namespace moegrad::cuda
