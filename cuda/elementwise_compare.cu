// Comparisons and logic.
#include "cuda/elementwise.cuh"
#include "ops/compare.h"

namespace moegrad::cuda {
namespace f = formula;

#define MOEGRAD_ANY(OP)                  \
  MOEGRAD_MAP2(OP, float, float, bool)   \
  MOEGRAD_MAP2(OP, double, double, bool) \
  MOEGRAD_MAP2(OP, bf16, bf16, bool)     \
  MOEGRAD_MAP2(OP, i32, i32, bool)       \
  MOEGRAD_MAP2(OP, i64, i64, bool)       \
  MOEGRAD_MAP2(OP, bool, bool, bool)
MOEGRAD_ANY(f::Eq)
MOEGRAD_ANY(f::Ne)
MOEGRAD_ANY(f::Lt)
MOEGRAD_ANY(f::Le)
MOEGRAD_ANY(f::And)
MOEGRAD_ANY(f::Or)

#define MOEGRAD_FLOATS(OP)       \
  MOEGRAD_MAP1(OP, float, bool)  \
  MOEGRAD_MAP1(OP, double, bool) \
  MOEGRAD_MAP1(OP, bf16, bool)
MOEGRAD_FLOATS(f::IsNan)
MOEGRAD_FLOATS(f::IsFinite)
MOEGRAD_MAP1(f::Not, bool, bool)

}  // namespace moegrad::cuda
