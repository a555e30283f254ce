// Ops that only relabel axes: they share the storage of x where strides allow it.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y[i..] = x in logical (row-major) order under another shape; one size may be -1 and is worked out.
///   Shapes    x [..] -> y `shape`, the same number of elements.  A view where strides allow, else a copy
///   Gradient  dx = reshape(dy, shape of x); any order.  Dtypes: any
///   Errors    ShapeError: the number of elements differs, or -1 is not one whole number
Tensor reshape(const Tensor& x, const Shape& shape);

/// y's axis i is x's axis axes[i]; a view.
///   Gradient  dx = permute(dy, inverse axes)
///   Errors    ShapeError: `axes` does not name every axis once
Tensor permute(const Tensor& x, const Axes& axes);
/// permute that swaps two axes.
Tensor swap_axes(const Tensor& x, int a, int b);
/// The last two axes swapped.
Tensor transpose(const Tensor& x);
/// permute that takes axes from[i] to the places to[i]; the others keep their order.
///   Errors    ShapeError: an axis is out of range or named twice, from and to differ in number
Tensor move_axis(const Tensor& x, int from, int to);
Tensor move_axis(const Tensor& x, const Axes& from, const Axes& to);

/// Repeats x along new leading axes and along axes of size 1, without a copy (stride 0).
///   Shapes    x -> `shape`, to which x must broadcast; -1 keeps the size that x has there
///   Gradient  dy summed over the repeats (its adjoint is sum_to).  Dtypes: any
///   Errors    ShapeError: x does not broadcast to `shape`
Tensor expand(const Tensor& x, const Shape& shape);

/// Inserts an axis of size 1 so that it is axis `axis` of y, in [-rank-1, rank].
Tensor unsqueeze(const Tensor& x, int axis);
/// Drops one axis of size 1 (without an axis: all of them).  Errors: ShapeError, the axis has another size.
Tensor squeeze(const Tensor& x, int axis);
Tensor squeeze(const Tensor& x);
/// Joins the axes first..last into one.
Tensor flatten(const Tensor& x, int first = 0, int last = -1);

}  // namespace moegrad
