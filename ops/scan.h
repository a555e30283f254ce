// Running products and the like: recurrences along an axis. ops/cumsum.h has running sums.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y_i = a_i y_{i-1} + b_i along `axis`, from y_0 = b_0 on; a_0 is not read. Under `reverse` from the other end:
/// y_i = a_i y_{i+1} + b_i, and the last a is not read.
///   Shapes    a, b broadcast to y
///   Dtypes    f32, f64, bf16 (computed in f64), i32, i64 (which wrap around); both alike
///   Gradient  db = linear_scan(a shifted by one, dy) in the other direction, da_i = db_i y_{i-1}; any order
///   Errors    ShapeError: shapes do not broadcast, axis out of range.  DTypeError: bool, or two dtypes
Tensor linear_scan(const Tensor& a, const Tensor& b, int axis, bool reverse = false);

/// y_i = x_0 x_1 .. x_i along `axis`.
///   Shapes    x [.., n, ..] -> y, same shape
///   Dtypes    f32, f64, bf16 (computed in f64); i32, i64 and bool give i64, which wraps around
///   Gradient  that of linear_scan, which divides by nothing: right also where some x are 0; any order
///   Errors    ShapeError: axis out of range
Tensor cumprod(const Tensor& x, int axis);

/// y_i = log(e^x_0 + .. + e^x_i) along `axis`, without overflow.
///   Shapes    x [.., n, ..] -> y, same shape
///   Dtypes    f32, f64 (computed in f64), bf16 (by way of f32, the gradient as well)
///   Gradient  dx_k = sum over i >= k of dy_i e^(x_k - y_i), as a linear_scan whose factors are at most 1; 0 where x is
///             -infinity; any order.  NaN from the first +infinity on
///   Errors    ShapeError: axis out of range.  DTypeError
Tensor logcumsumexp(const Tensor& x, int axis);

// Kernels, called only by ops/scan.cpp. a, b, x, y [outer, count, inner], contiguous. The same bits for any number of
// threads.
namespace cpu {
template <class T> void linear_scan_blocks(const T* a, const T* b, T* y, i64 outer, i64 count, i64 inner, bool reverse);
template <class F> void logcumsumexp_blocks(const F* x, F* y, i64 outer, i64 count, i64 inner);
}  // namespace cpu
namespace cuda {
template <class T> void linear_scan_blocks(const T* a, const T* b, T* y, i64 outer, i64 count, i64 inner, bool reverse);
template <class F> void logcumsumexp_blocks(const F* x, F* y, i64 outer, i64 count, i64 inner);
}  // namespace cuda

}  // namespace moegrad
