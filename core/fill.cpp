#include "core/fill.h"

#include <algorithm>

#include "core/dtype.h"

namespace moegrad::cpu {

template <class T> void fill_value(T* y, i64 n, T value) { std::fill_n(y, n, value); }

template <class T> void fill_line(T* y, i64 n, const Line& line) {
  for (i64 i = 0; i < n; ++i) y[i] = convert<T>(line.at(i, n));
}

template <class T> void copy_elements(const T* x, T* y, const Nest<2>& nest) {
  const i64 sx = nest.strides[0][nest.rank - 1], sy = nest.strides[1][nest.rank - 1];
  walk(nest, 0, nest.elements(), [&](const i64* offset, i64 n) {
    for (i64 i = 0; i < n; ++i) y[offset[1] + i * sy] = x[offset[0] + i * sx];
  });
}

#define MOEGRAD_FILL(T)                          \
  template void fill_value(T*, i64, T);          \
  template void fill_line(T*, i64, const Line&); \
  template void copy_elements(const T*, T*, const Nest<2>&);
MOEGRAD_FILL(float)
MOEGRAD_FILL(double)
MOEGRAD_FILL(bf16)
MOEGRAD_FILL(i32)
MOEGRAD_FILL(i64)
MOEGRAD_FILL(bool)
#undef MOEGRAD_FILL

}  // namespace moegrad::cpu
