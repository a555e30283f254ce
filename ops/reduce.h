// Reductions over any set of axes.
#pragma once
#include "core/tensor.h"
#include "ops/arithmetic.h"

namespace moegrad {

/// For the last argument of reductions: reduced axes stay, with size 1.
inline constexpr bool keep_dims = true;

/// y = sum of x over `axes` (over all axes where none are given); 0 where they are empty.
///   Shapes    x [..] -> y without `axes`, or with size 1 there under keep_dims
///   Dtypes    f32, f64, bf16 as they are (accumulated in that type, bf16 in f32 and rounded once; in pairs, in an
///             order that depends on shape and strides only); i32, i64 and bool give i64, which wraps around
///   Gradient  dx = dy repeated along `axes`; any order
///   Errors    ShapeError: an axis is outside [-rank, rank) or named twice
Tensor sum(const Tensor& x, const Axes& axes, bool keep = false);
Tensor sum(const Tensor& x, int axis, bool keep = false);
Tensor sum(const Tensor& x);

/// y = sum / number of elements.  Dtypes f32, f64, bf16.  Gradient: dy / n repeated.
///   Errors    as sum, and ShapeError: no elements to average
Tensor mean(const Tensor& x, const Axes& axes, bool keep = false);
Tensor mean(const Tensor& x, int axis, bool keep = false);
Tensor mean(const Tensor& x);

/// Largest / smallest element over `axes`; NaN if there is one.  Dtypes f32, f64, bf16, i32, i64.
///   Gradient  dy shared evenly among the elements that tie for the extremum; any order
///   Errors    as sum, and ShapeError: no elements
Tensor amax(const Tensor& x, const Axes& axes, bool keep = false);
Tensor amax(const Tensor& x, int axis, bool keep = false);
Tensor amax(const Tensor& x);
Tensor amin(const Tensor& x, const Axes& axes, bool keep = false);
Tensor amin(const Tensor& x, int axis, bool keep = false);
Tensor amin(const Tensor& x);

/// y = product of x over `axes`; 1 where they are empty.
///   Dtypes    f32, f64, bf16 as they are; i32, i64 and bool give i64, which wraps around
///   Gradient  dx_i = dy times the product of the other elements, right also where some are 0; any order
///   Errors    as sum
Tensor prod(const Tensor& x, const Axes& axes, bool keep = false);
Tensor prod(const Tensor& x, int axis, bool keep = false);
Tensor prod(const Tensor& x);

/// Is any / is every element not 0 (NaN is not 0)?  Dtypes: any -> bool.  Where the axes are empty: false / true.
///   Gradient  none.   Errors: as sum
Tensor any(const Tensor& x, const Axes& axes, bool keep = false);
Tensor any(const Tensor& x, int axis, bool keep = false);
Tensor any(const Tensor& x);
Tensor all(const Tensor& x, const Axes& axes, bool keep = false);
Tensor all(const Tensor& x, int axis, bool keep = false);
Tensor all(const Tensor& x);

/// How many elements are not 0.  Dtypes: any -> i64.  Gradient: none.   Errors: as sum
Tensor count_nonzero(const Tensor& x, const Axes& axes, bool keep = false);
Tensor count_nonzero(const Tensor& x, int axis, bool keep = false);
Tensor count_nonzero(const Tensor& x);

/// x summed over the axes along which a tensor of `shape` was broadcast to x's shape: the adjoint of expand.
///   Errors    InternalError: `shape` does not broadcast to x's
Tensor sum_to(const Tensor& x, const Shape& shape);

namespace formula {
// An associative operation and its neutral element.
template <class Y> struct SumOf {
  Y first = 0;
  MOEGRAD_HD Y operator()(Y a, Y b) const { return Add{}(a, b); }
};
template <class Y> struct ProductOf {
  Y first = 1;
  MOEGRAD_HD Y operator()(Y a, Y b) const { return Mul{}(a, b); }
};
struct AnyOf {
  bool first = false;
  MOEGRAD_HD bool operator()(bool a, bool b) const { return a || b; }
};
struct AllOf {
  bool first = true;
  MOEGRAD_HD bool operator()(bool a, bool b) const { return a && b; }
};
template <class Y> struct MaxOf {
  Y first;
  MOEGRAD_HD Y operator()(Y a, Y b) const {
    const Y larger = a > b ? a : b;  // one instruction, which gives b if one is NaN
    return a != a ? a : larger;
  }
};
template <class Y> struct MinOf {
  Y first;
  MOEGRAD_HD Y operator()(Y a, Y b) const {
    const Y smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};
}  // namespace formula
}  // namespace moegrad
