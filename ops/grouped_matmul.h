// Products of uneven groups of rows, each with a weight of its own: dropless experts.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = x w[e] for the rows of group e: rows begin[e] .. begin[e + 1] - 1.
///   Shapes    x [P, D], w [E, D, F], begin i64 [E + 1] ascending from 0 -> y [P, F]; empty groups are fine, and
///             rows from begin[E] on belong to none: their y is zeros
///   Dtypes    x, w f32, f64 or bf16, both alike
///   Gradient  dx = grouped_matmul(dy, w^T), dw = grouped_outer(x, dy); any order; an empty group gets zeros
///   Errors    ShapeError: sizes do not fit, begin is not [E + 1].  IndexError: begin does not ascend from 0 to at most P
///   On a GPU  synchronises: the host reads begin, once for the product and its gradients, so that every group is a
///             product of its own size. In a capture it reads nothing: rows are multiplied in blocks of 128 (up to
///             E more than there are), and a bad begin counts as E empty groups, and is thrown when the host next waits
///   Source    MegaBlocks (2022), arXiv:2211.15841: the block-diagonal product of section 3, without padding
Tensor grouped_matmul(const Tensor& x, const Tensor& w, const Tensor& begin);

/// y[e] = x^T z over the rows of group e.
///   Shapes    x [P, D], z [P, F], begin i64 [E + 1] -> y [E, D, F]; zeros for an empty group
///   Gradient  dx = grouped_matmul(z, dy^T), dz = grouped_matmul(x, dy); any order.  Errors: as grouped_matmul
Tensor grouped_outer(const Tensor& x, const Tensor& z, const Tensor& begin);

/// Sizes of a grouped product; w [E, D, F] with rows or (w_transposed) columns contiguous.
struct GroupedSizes {
  i64 groups, rows, inner, outer;  // E, P, D, F
  bool w_transposed = false;
  const i64* borders = nullptr;  // on a GPU: begin where the host has read it
};
// Kernels, called only by ops/grouped_matmul.cpp; x, z and y contiguous. F is float or double, on a GPU also bf16.
namespace cpu {
template <class F> void grouped_matmul(const F* x, const F* w, const i64* begin, F* y, const GroupedSizes& sizes);
template <class F> void grouped_outer(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& sizes);
}  // namespace cpu
namespace cuda {
template <class F> void grouped_matmul(const F* x, const F* w, const i64* begin, F* y, const GroupedSizes& sizes);
template <class F> void grouped_outer(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& sizes);
}  // namespace cuda

}  // namespace moegrad
