// Diagonals, and their adjoint.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = x where its axes `a` and `b` have the same position; the diagonal takes the place of the earlier of the two
/// axes. A view.
///   Shapes    x [.., n, .., n, ..] -> y [.., n, ..], one axis less
///   Gradient  dx = place_diagonal(dy); any order.  Dtypes: any
///   Errors    ShapeError: the sizes differ, or a and b are one axis
Tensor diagonal(const Tensor& x, int a, int b);

/// y[.., i, .., j, ..] = x[.., i, ..] where i = j, else 0: `axis` of x becomes axes `a` < `b` of y.
///   Gradient  dx = diagonal(dy)
Tensor place_diagonal(const Tensor& x, int a, int b);

}  // namespace moegrad
