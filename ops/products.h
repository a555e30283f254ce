// Products that are a name for matmul or einsum.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y_ij = a_i b_j.
///   Shapes    a [m], b [n] -> y [m, n]
///   Dtypes    f32, f64, bf16, i32, i64, both alike
///   Gradient  da = dy b, db = dy^T a; any order
///   Errors    ShapeError: a or b is no vector.  DTypeError: two dtypes
Tensor outer(const Tensor& a, const Tensor& b);

/// y = beta x + alpha a b; for beta = 0 the values of x do not count, whatever they are, and x stays out of the graph.
///   Shapes    a [m, k], b [k, n], x broadcasts to y [m, n]
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  dx = beta dy, da = alpha dy b^T, db = alpha a^T dy; any order
///   Errors    ShapeError: a or b is no matrix, inner sizes differ, x does not broadcast.  DTypeError: two dtypes, or
///             not a float
Tensor addmm(const Tensor& x, const Tensor& a, const Tensor& b, double beta = 1, double alpha = 1);

/// y_o = sum over i, j of x_i w_oij z_j + b_o.
///   Shapes    x [.., m], z [.., n] with the same axes before, w [O, m, n], b [O] or an empty handle -> y [.., O]
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  to all four; any order
///   Errors    ShapeError: shapes do not fit.  DTypeError: two dtypes, or not a float
Tensor bilinear(const Tensor& x, const Tensor& z, const Tensor& w, const Tensor& b = {});

}  // namespace moegrad
