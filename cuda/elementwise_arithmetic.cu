// Functions of two numbers.
#include "cuda/elementwise.cuh"
#include "ops/arithmetic.h"
#include "ops/binary.h"
#include "ops/probability_loss.h"

namespace moegrad::cuda {
namespace f = formula;

MOEGRAD_MAP2_FLOATS(f::Div)
MOEGRAD_MAP2_FLOATS(f::Pow)
MOEGRAD_MAP2_FLOATS(f::Atan2)
MOEGRAD_MAP2_FLOATS(f::LogAddExp)
MOEGRAD_MAP2_FLOATS(f::BinaryCrossEntropy)

#define MOEGRAD_NUMBERS(OP)       \
  MOEGRAD_MAP2_FLOATS(OP)         \
  MOEGRAD_MAP2(OP, i32, i32, i32) \
  MOEGRAD_MAP2(OP, i64, i64, i64)
MOEGRAD_NUMBERS(f::Add)
MOEGRAD_NUMBERS(f::Sub)
MOEGRAD_NUMBERS(f::Mul)
MOEGRAD_NUMBERS(f::Maximum)
MOEGRAD_NUMBERS(f::Minimum)
MOEGRAD_NUMBERS(f::Remainder)
MOEGRAD_NUMBERS(f::FloorDivide)

}  // namespace moegrad::cuda
