#include "core/blas.h"

#include <cblas.h>
#include <fmt/format.h>

#include <limits>

#include "core/errors.h"

namespace moegrad {
namespace {

int blas_int(i64 n) {
  if (n > std::numeric_limits<int>::max())
    throw ShapeError(fmt::format("matmul: BLAS takes sizes and strides up to 2^31 - 1; got {}", n));
  return static_cast<int>(n);
}
int leading(i64 stride) { return blas_int(stride < 1 ? 1 : stride); }
template <class F> CBLAS_TRANSPOSE transposed(const MatrixView<const F>& m) {
  return m.transposed ? CblasTrans : CblasNoTrans;
}

}  // namespace

template <class F>
void cpu::gemm(MatrixView<const F> a, MatrixView<const F> b, F* y, i64 y_stride, i64 m, i64 n, i64 k, F alpha, F beta) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (i64 i = 0; i < m; ++i)
      for (i64 j = 0; j < n; ++j) y[i * y_stride + j] = beta == F(0) ? F(0) : beta * y[i * y_stride + j];
    return;
  }
  const int im = blas_int(m), in = blas_int(n), ik = blas_int(k), ly = leading(y_stride);
  if constexpr (sizeof(F) == 4)
    cblas_sgemm(CblasRowMajor, transposed(a), transposed(b), im, in, ik, alpha, a.data, leading(a.stride), b.data,
                leading(b.stride), beta, y, ly);
  else
    cblas_dgemm(CblasRowMajor, transposed(a), transposed(b), im, in, ik, alpha, a.data, leading(a.stride), b.data,
                leading(b.stride), beta, y, ly);
}
template void cpu::gemm(MatrixView<const float>, MatrixView<const float>, float*, i64, i64, i64, i64, float, float);
template void cpu::gemm(MatrixView<const double>, MatrixView<const double>, double*, i64, i64, i64, i64, double,
                        double);

template <class F>
void cpu::gemv(MatrixView<const F> a, const F* x, i64 x_step, F* y, i64 y_step, i64 m, i64 k, F alpha, F beta) {
  if (m == 0) return;
  if (k == 0) {
    for (i64 i = 0; i < m; ++i) y[i * y_step] = beta == F(0) ? F(0) : beta * y[i * y_step];
    return;
  }
  // BLAS counts rows and columns of the stored matrix
  const int rows = blas_int(a.transposed ? k : m), columns = blas_int(a.transposed ? m : k);
  if constexpr (sizeof(F) == 4)
    cblas_sgemv(CblasRowMajor, transposed(a), rows, columns, alpha, a.data, leading(a.stride), x, blas_int(x_step),
                beta, y, blas_int(y_step));
  else
    cblas_dgemv(CblasRowMajor, transposed(a), rows, columns, alpha, a.data, leading(a.stride), x, blas_int(x_step),
                beta, y, blas_int(y_step));
}
template void cpu::gemv(MatrixView<const float>, const float*, i64, float*, i64, i64, i64, float, float);
template void cpu::gemv(MatrixView<const double>, const double*, i64, double*, i64, i64, i64, double, double);

int cpu::blas_parallel_kind() { return openblas_get_parallel(); }

}  // namespace moegrad
