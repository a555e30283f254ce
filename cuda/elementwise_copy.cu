// Copies, conversions and selections.
#include "cuda/elementwise.cuh"
#include "ops/cast.h"
#include "ops/where.h"

namespace moegrad::cuda {
namespace f = formula;

#define MOEGRAD_SAME(T) MOEGRAD_MAP1(f::Same, T, T)
MOEGRAD_SAME(float)
MOEGRAD_SAME(double)
MOEGRAD_SAME(bf16)
MOEGRAD_SAME(i32)
MOEGRAD_SAME(i64)
MOEGRAD_SAME(bool)

#define MOEGRAD_CONVERT(FROM, TO) MOEGRAD_MAP1(f::Convert<TO>, FROM, TO)
MOEGRAD_CONVERT(float, double)
MOEGRAD_CONVERT(float, bf16)
MOEGRAD_CONVERT(float, i32)
MOEGRAD_CONVERT(float, i64)
MOEGRAD_CONVERT(float, bool)
MOEGRAD_CONVERT(double, float)
MOEGRAD_CONVERT(double, bf16)
MOEGRAD_CONVERT(double, i32)
MOEGRAD_CONVERT(double, i64)
MOEGRAD_CONVERT(double, bool)
MOEGRAD_CONVERT(bf16, float)
MOEGRAD_CONVERT(bf16, double)
MOEGRAD_CONVERT(bf16, i32)
MOEGRAD_CONVERT(bf16, i64)
MOEGRAD_CONVERT(bf16, bool)
MOEGRAD_CONVERT(i32, float)
MOEGRAD_CONVERT(i32, double)
MOEGRAD_CONVERT(i32, bf16)
MOEGRAD_CONVERT(i32, i64)
MOEGRAD_CONVERT(i32, bool)
MOEGRAD_CONVERT(i64, float)
MOEGRAD_CONVERT(i64, double)
MOEGRAD_CONVERT(i64, bf16)
MOEGRAD_CONVERT(i64, i32)
MOEGRAD_CONVERT(i64, bool)
MOEGRAD_CONVERT(bool, float)
MOEGRAD_CONVERT(bool, double)
MOEGRAD_CONVERT(bool, bf16)
MOEGRAD_CONVERT(bool, i32)
MOEGRAD_CONVERT(bool, i64)

#define MOEGRAD_SELECT(T)                                                            \
  template void map3(f::Where, const bool*, const T*, const T*, T*, const Nest<4>&); \
  template void map2(f::FillWhere<Computed<T>>, const T*, const bool*, T*, const Nest<3>&);
MOEGRAD_SELECT(float)
MOEGRAD_SELECT(double)
MOEGRAD_SELECT(bf16)
MOEGRAD_SELECT(i32)
MOEGRAD_SELECT(i64)
MOEGRAD_SELECT(bool)

}  // namespace moegrad::cuda
