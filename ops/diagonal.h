// Diagonals, and their adjoint.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y[.., i, ..] = x[.., i, .., i + offset, ..] on the axes `a` and `b`; a negative offset goes below the diagonal. It
/// takes the place of the earlier of the two axes. A view.
///   Shapes    x [.., m, .., n, ..] -> y [.., k, ..], one axis less; k positions lie inside both axes, maybe none
///   Gradient  dx = dy on the diagonal, 0 elsewhere; any order.  Dtypes: any
///   Errors    ShapeError: an axis is out of range, a and b are one axis
Tensor diagonal(const Tensor& x, int a, int b, i64 offset = 0);

/// y[.., i, .., i + offset, ..] = x[.., i, ..], and 0 elsewhere: axis `a` of x becomes the axes `a` < `b` of y.
///   Shapes    x [.., k, ..] -> y [.., k + |offset|, .., k + |offset|, ..].  Dtypes: any
///   Gradient  dx = diagonal(dy); any order
///   Errors    ShapeError: 0 <= a < b <= rank does not hold, the offset is too large
Tensor place_diagonal(const Tensor& x, int a, int b, i64 offset = 0);

/// The same for the last axis of x, and axes of y that may be counted from the end and in any order: matrices with the
/// rows of x on their diagonals.
///   Errors    ShapeError: an axis is out of range, a and b are one axis, the offset is too large
Tensor diag_embed(const Tensor& x, i64 offset = 0, int a = -2, int b = -1);

}  // namespace moegrad
