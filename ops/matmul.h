// Matrix products.
#pragma once
#include "core/nest.h"
#include "core/tensor.h"

namespace moegrad {

/// y = a b over the last two axes; the axes before them are a batch and broadcast.
///   Shapes    a [.., m, k], b [.., k, n] -> y [.., m, n].  A vector on the left is a row [1, k], on the right a
///             column [k, 1]; that axis is dropped from y.  Sizes may be 0: an empty sum over k is 0
///   Dtypes    f32, f64, bf16, both alike; sums of bf16 are f32 and rounded once
///   Gradient  da = dy b^T, db = a^T dy; any order.  The engine sums them over broadcast batch axes
///   Errors    ShapeError: a scalar, inner sizes differ, batches do not broadcast.  DTypeError: two dtypes, or no float
/// Operands are read as they lie if rows or columns are contiguous, which covers slices and transposed views.
Tensor matmul(const Tensor& a, const Tensor& b);

/// y = x w^T + b.
///   Shapes    x [.., in], w [out, in], b [out] or an empty handle -> y [.., out]
///   Gradient  dx = dy w, dw = dy^T x, db = sum of dy; any order
///   Errors    ShapeError: sizes differ, w is no matrix, b is not [out].  DTypeError as matmul
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b = {});

// For ops that multiply batches of matrices.
namespace detail {
/// The axes of x before its matrices.
Shape batch_of(const Tensor& x);
/// Where the matrices of a and b begin, entry by entry of `batch`, to which the batches of both broadcast.
Nest<2> batch_nest(const Tensor& a, const Tensor& b, const Shape& batch);
}  // namespace detail

/// One product for every entry of a batch. F is float or double, on a GPU also bf16. Strides in elements; y [m, n]
/// matrices lie one behind the other.
struct BatchedMatmul {
  i64 m, n, k;
  Nest<2> batch;              // strides of a and b along the batch
  i64 a_stride, b_stride;     // from row to row, or from column to column
  bool a_transposed = false;  // columns are contiguous instead of rows
  bool b_transposed = false;
};
// Kernels, called only by ops/matmul.cpp.
namespace cpu {
template <class F> void matmul_batched(const F* a, const F* b, F* y, const BatchedMatmul& plan);
}
namespace cuda {
template <class F> void matmul_batched(const F* a, const F* b, F* y, const BatchedMatmul& plan);
}

}  // namespace moegrad
