// Running sums.
#pragma once
#include "core/tensor.h"

namespace moegrad {

struct CumsumOptions {
  bool reverse = false;    ///< sums from the end of the axis
  bool exclusive = false;  ///< the sum of what comes before, without the element itself
};

/// y_i = x_0 + .. + x_i along `axis` (x_0 + .. + x_{i-1} if exclusive; from the other end if reverse).
///   Shapes    x [.., n, ..] -> y, same shape
///   Dtypes    f32, f64, bf16 as they are (accumulated in f64, in an order that depends on the shape only); i32, i64
///             and bool give i64, which wraps around
///   Gradient  dx = cumsum of dy in the other direction, exclusive if this one is; any order
///   Errors    ShapeError: axis out of range
Tensor cumsum(const Tensor& x, int axis, CumsumOptions options = {});

// Kernels, called only by ops/cumsum.cpp. x, y [outer, count, inner], contiguous. Same bits for any number of threads.
namespace cpu {
template <class X, class Y>
void cumsum_blocks(const X* x, Y* y, i64 outer, i64 count, i64 inner, const CumsumOptions& options);
}
namespace cuda {
template <class X, class Y>
void cumsum_blocks(const X* x, Y* y, i64 outer, i64 count, i64 inner, const CumsumOptions& options);
}

}  // namespace moegrad
