// Indexing by tensors: thin wrappers of the two route ops. Indices have no gradient; -1 is an empty entry that yields
// zeros.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y[.., j, ..] = x[.., index[.., j, ..], ..] along `axis`: one index per element.
///   Shapes    x [.., n, ..], index [.., m, ..] (other axes as in x) -> y, shape of index
///   Dtypes    x f32, f64; index i64 or i32 with values in [-1, n)
///   Gradient  dx = scatter_add of dy; any order, the same bits for any number of threads
///   Errors    ShapeError: ranks or other axes differ.  IndexError: a value outside [-1, n)
Tensor take_along(const Tensor& x, int axis, const Tensor& index);

/// y = x at the positions `index` of `axis`: whole slices.
///   Shapes    x [a.., n, b..], index [..] -> y [a.., index axes.., b..]
///   Gradient  dx = slices of dy added up; any order.  Errors: as take_along
Tensor index_select(const Tensor& x, int axis, const Tensor& index);

/// y = x, plus source[.., j, ..] added at position index[.., j, ..] of `axis`; entries of -1 add nothing.
///   Shapes    x [.., n, ..], index and source [.., m, ..] -> y, shape of x
///   Gradient  dx = dy, dsource = take_along(dy); any order.  Errors: as take_along, and ShapeError: source and index
///   differ
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source);

/// Rows of a table: y[.., :] = weight[index[..], :].
///   Shapes    weight [V, D], index [..] i64 or i32 -> y [.., D]
///   Gradient  dweight: rows of dy added up by index; any order
///   Errors    ShapeError: weight is no matrix.  IndexError: a value outside [-1, V)
Tensor embedding(const Tensor& weight, const Tensor& index);

}  // namespace moegrad
