// Triangles of matrices: one thread for each element; what is cut off is not read.
#include "ops/pad.h"

#include "core/bf16.h"
#include "core/dtype.h"
#include "cuda/launch.h"

namespace moegrad::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kBlock)
    triangle_kernel(const T* x, T* y, i64 total, i64 m, i64 n, i64 diagonal, bool lower) {
  for (i64 i = first_index(); i < total; i += grid_stride()) {
    const bool narrow = (total | n | m) <= 0xffffffff;  // a division of 64 bits takes several times as long
    const i64 line = narrow ? static_cast<u32>(i) / static_cast<u32>(n) : i / n;
    const i64 row = narrow ? static_cast<u32>(line) % static_cast<u32>(m) : line % m;
    const i64 edge = row + diagonal, column = i - line * n;
    const bool kept = lower ? column <= edge : column >= edge;
    y[i] = kept ? x[i] : convert<T>(0);
  }
}

}  // namespace

template <class T> void triangle(const T* x, T* y, i64 count, i64 m, i64 n, i64 diagonal, bool lower) {
  const Grid g = grid_for(count * m * n);
  launch("triangle", g.blocks, g.threads, 0, triangle_kernel<T>, x, y, count * m * n, m, n, diagonal, lower);
}

template void triangle(const float*, float*, i64, i64, i64, i64, bool);
template void triangle(const double*, double*, i64, i64, i64, i64, bool);
template void triangle(const bf16*, bf16*, i64, i64, i64, i64, bool);
template void triangle(const i32*, i32*, i64, i64, i64, i64, bool);
template void triangle(const i64*, i64*, i64, i64, i64, i64, bool);
template void triangle(const bool*, bool*, i64, i64, i64, i64, bool);

}  // namespace moegrad::cuda
