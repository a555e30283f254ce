// Functions of one number.
#include "cuda/elementwise.cuh"
#include "ops/unary.h"

namespace moegrad::cuda {
namespace f = formula;

#define MOEGRAD_FLOATS(OP)         \
  MOEGRAD_MAP1(OP, float, float)   \
  MOEGRAD_MAP1(OP, double, double) \
  MOEGRAD_MAP1(OP, bf16, bf16)
MOEGRAD_FLOATS(f::AbsFloat)
MOEGRAD_FLOATS(f::Ceil)
MOEGRAD_FLOATS(f::Cos)
MOEGRAD_FLOATS(f::Entr)
MOEGRAD_FLOATS(f::Erf)
MOEGRAD_FLOATS(f::Erfc)
MOEGRAD_FLOATS(f::Exp)
MOEGRAD_FLOATS(f::Expm1)
MOEGRAD_FLOATS(f::Floor)
MOEGRAD_FLOATS(f::Log)
MOEGRAD_FLOATS(f::Log1p)
MOEGRAD_FLOATS(f::NegFloat)
MOEGRAD_FLOATS(f::NormalCdf)
MOEGRAD_FLOATS(f::Reciprocal)
MOEGRAD_FLOATS(f::Round)
MOEGRAD_FLOATS(f::Rsqrt)
MOEGRAD_FLOATS(f::Sin)
MOEGRAD_FLOATS(f::Sigmoid)
MOEGRAD_FLOATS(f::Sqrt)
MOEGRAD_FLOATS(f::Tanh)

#define MOEGRAD_NUMBERS(OP)  \
  MOEGRAD_FLOATS(OP)         \
  MOEGRAD_MAP1(OP, i32, i32) \
  MOEGRAD_MAP1(OP, i64, i64)
MOEGRAD_NUMBERS(f::Sign)
MOEGRAD_NUMBERS(f::Square)

#define MOEGRAD_INTEGERS(OP) \
  MOEGRAD_MAP1(OP, i32, i32) \
  MOEGRAD_MAP1(OP, i64, i64)
MOEGRAD_INTEGERS(f::Abs)
MOEGRAD_INTEGERS(f::Neg)

#define MOEGRAD_WITH_NUMBERS(OP)        \
  MOEGRAD_MAP1(OP<float>, float, float) \
  MOEGRAD_MAP1(OP<float>, bf16, bf16)   \
  MOEGRAD_MAP1(OP<double>, double, double)
MOEGRAD_WITH_NUMBERS(f::PowBy)
MOEGRAD_WITH_NUMBERS(f::Clamp)
MOEGRAD_MAP1(f::Clamp<i32>, i32, i32)
MOEGRAD_MAP1(f::Clamp<i64>, i64, i64)

}  // namespace moegrad::cuda
