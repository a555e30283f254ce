// Constants, sequences and copies: one element for each thread.
#include "core/fill.h"

#include "core/dtype.h"
#include "cuda/launch.h"
#include "ops/loops.h"

namespace moegrad::cuda {

template <class T> __global__ void fill_value_kernel(T* y, i64 n, T value) {
  for (i64 i = first_index(); i < n; i += grid_stride()) y[i] = value;
}
template <class T> __global__ void fill_line_kernel(T* y, i64 n, Line line) {
  for (i64 i = first_index(); i < n; i += grid_stride()) y[i] = convert<T>(line.at(i, n));
}

template <class T> void fill_value(T* y, i64 n, T value) {
  const Grid g = grid_for(n, 4);
  launch("fill_value", g.blocks, g.threads, 0, fill_value_kernel<T>, y, n, value);
}
template <class T> void fill_line(T* y, i64 n, const Line& line) {
  const Grid g = grid_for(n);
  launch("fill_line", g.blocks, g.threads, 0, fill_line_kernel<T>, y, n, line);
}
template <class T> void copy_elements(const T* x, T* y, const Nest<2>& nest) {
  map1(formula::Same{}, x, y, nest);  // instantiated in cuda/elementwise_copy.cu
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

}  // namespace moegrad::cuda
