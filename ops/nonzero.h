// Ops whose result has as many elements as values say. They synchronise: the count is read back before the result can
// be allocated, so they cannot be captured in a CUDA graph. Which elements are meant is a choice (core/choose.h): a
// replayed tape gives its own.
#pragma once
#include "core/tensor.h"
#include "ops/routes.h"

namespace moegrad {

/// Positions of the elements that are not 0 (NaN is not 0), in row-major order.
///   Shapes    x [..] -> y i64 [count, rank of x].  Synchronises
///   Dtypes    x any.  Gradient: none.  Errors: none
Tensor nonzero(const Tensor& x);

/// y = the elements of x where mask is true, in row-major order.
///   Shapes    x and mask broadcast against each other; y [count].  Synchronises
///   Dtypes    x any, mask bool
///   Gradient  dx = dy at the elements taken, 0 elsewhere; any order.  None to mask
///   Errors    ShapeError: shapes do not broadcast.  DTypeError: mask is not bool
Tensor masked_select(const Tensor& x, const Tensor& mask);

/// y[c] = how many elements of index are c, or the sum of their weights; -1 is counted nowhere.
///   Shapes    index [..], weights the same -> y [max(least, largest value + 1)].  Synchronises
///   Dtypes    index i64 or i32 with values >= -1; y i64, or as weights: f32, f64, bf16, i32, i64
///   Gradient  dweights = dy at index; any order, the same bits for any number of threads
///   Errors    IndexError: a value below -1 or above 2^61.  DTypeError: index is no integer, weights are bool.  ShapeError: weights
///             have another shape, least < 0
Tensor bincount(const Tensor& index, i64 least = 0);
Tensor bincount(const Tensor& index, const Tensor& weights, i64 least = 0);

// Kernel, called only by ops/nonzero.cpp. x contiguous, of the given sizes; y [number of true elements, rank].
struct NonzeroPlan {
  i64 elements;
  int rank;
  i64 sizes[kMaxRank];
};
namespace cpu {
void nonzero_positions(const bool* x, i64* y, const NonzeroPlan& plan);
}
namespace cuda {
void nonzero_positions(const bool* x, i64* y, const NonzeroPlan& plan);
}

}  // namespace moegrad
