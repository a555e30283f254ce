// Matrix products by OpenBLAS: the only file that knows that library.
#pragma once
#include "core/fwd.h"

namespace moegrad {

/// A matrix as BLAS reads it: rows of `stride` elements, or columns where `transposed`.
template <class F> struct MatrixView {
  F* data;
  i64 stride;  // from one row (column, if transposed) to the next
  bool transposed = false;
};

namespace cpu {

/// y = alpha a b + beta y, with a [m, k], b [k, n], y [m, n] in row-major order. F is float or double. Sizes may be 0.
template <class F>
void gemm(MatrixView<const F> a, MatrixView<const F> b, F* y, i64 y_stride, i64 m, i64 n, i64 k, F alpha = 1,
          F beta = 0);

/// y = alpha a x + beta y, with a [m, k] in row-major order, for steps between elements of x and y.
template <class F>
void gemv(MatrixView<const F> a, const F* x, i64 x_step, F* y, i64 y_step, i64 m, i64 k, F alpha = 1, F beta = 0);

/// How OpenBLAS was built: 2 for OpenMP, the build that shares one pool of threads with our loops.
int blas_parallel_kind();

}  // namespace cpu
}  // namespace moegrad
