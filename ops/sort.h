// Order along an axis: sort, argsort, top_k, argmax, argmin. What comes first is a choice (core/choose.h): indices
// carry no gradient, values do.
//
// One order for all: NaN counts as larger than every number, -0 equals 0, and of equal elements the one with the lowest
// index comes first, ascending or descending.
#pragma once
#include "core/tensor.h"

namespace moegrad {

struct Ordered {
  Tensor values, indices;
};

/// x in ascending (or descending) order along `axis`, and where each element came from. Stable.
///   Shapes    x [.., n, ..] -> values, indices i64, same shape
///   Dtypes    any; values as x
///   Gradient  values: dx[indices] = dvalues; any order.  indices: none
///   Errors    ShapeError: axis out of range
Ordered sort(const Tensor& x, int axis = -1, bool descending = false);
/// sort(..).indices.  Gradient: none.
Tensor argsort(const Tensor& x, int axis = -1, bool descending = false);

/// The k largest (or smallest) elements along `axis`, best first.
///   Shapes    x [.., n, ..] -> values, indices i64 [.., k, ..]; k in [0, n]
///   Dtypes    any; values as x
///   Gradient  values: dx[indices] = dvalues, 0 elsewhere; any order.  indices: none
///   Errors    ShapeError: axis out of range, k outside [0, n]
Ordered top_k(const Tensor& x, i64 k, int axis = -1, bool largest = true);

/// Index of the largest / smallest element along `axis`, or in row-major order of the whole tensor, as i64.
///   Shapes    x [.., n, ..] -> y without `axis`, or with size 1 there under keep_dims
///   Gradient  none.  Dtypes: any.  argmin of a NaN and numbers is that of the numbers (amin would be NaN)
///   Errors    ShapeError: axis out of range, n = 0
Tensor argmax(const Tensor& x, int axis, bool keep = false);
Tensor argmax(const Tensor& x);
Tensor argmin(const Tensor& x, int axis, bool keep = false);
Tensor argmin(const Tensor& x);

/// The largest / smallest element along `axis` and where it is: one element, where amax shares among those that tie.
///   Shapes    x [.., n, ..] -> values, indices i64 without `axis`, or with size 1 there under keep_dims
///   Dtypes    any; values as x
///   Gradient  values: dx[indices] = dvalues, 0 elsewhere, so of equal elements the first gets all; any order.
///             indices: none
///   Errors    as argmax
Ordered max_along(const Tensor& x, int axis, bool keep = false);
Ordered min_along(const Tensor& x, int axis, bool keep = false);

/// The first k of each row in order.
struct OrderPlan {
  i64 rows, n, k;
  bool descending;
};
// Kernel, called only by ops/sort.cpp. x [rows, n] and y [rows, k], contiguous; 1 <= k <= n.
namespace cpu {
template <class X> void order_rows(const X* x, i64* y, const OrderPlan& plan);
}
namespace cuda {
template <class X> void order_rows(const X* x, i64* y, const OrderPlan& plan);
}

}  // namespace moegrad
