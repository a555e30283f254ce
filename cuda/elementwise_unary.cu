// Functions of one number.
#include "cuda/elementwise.cuh"
#include "ops/unary.h"

namespace moegrad::cuda {
namespace f = formula;

MOEGRAD_MAP1_FLOATS(f::AbsFloat)
MOEGRAD_MAP1_FLOATS(f::Ceil)
MOEGRAD_MAP1_FLOATS(f::Cos)
MOEGRAD_MAP1_FLOATS(f::Entr)
MOEGRAD_MAP1_FLOATS(f::Erf)
MOEGRAD_MAP1_FLOATS(f::Erfc)
MOEGRAD_MAP1_FLOATS(f::Exp)
MOEGRAD_MAP1_FLOATS(f::Expm1)
MOEGRAD_MAP1_FLOATS(f::Floor)
MOEGRAD_MAP1_FLOATS(f::Log)
MOEGRAD_MAP1_FLOATS(f::Log1p)
MOEGRAD_MAP1_FLOATS(f::NegFloat)
MOEGRAD_MAP1_FLOATS(f::NormalCdf)
MOEGRAD_MAP1_FLOATS(f::Reciprocal)
MOEGRAD_MAP1_FLOATS(f::Round)
MOEGRAD_MAP1_FLOATS(f::Rsqrt)
MOEGRAD_MAP1_FLOATS(f::Sin)
MOEGRAD_MAP1_FLOATS(f::Sigmoid)
MOEGRAD_MAP1_FLOATS(f::Sqrt)
MOEGRAD_MAP1_FLOATS(f::Tanh)

#define MOEGRAD_NUMBERS(OP)  \
  MOEGRAD_MAP1_FLOATS(OP)    \
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
