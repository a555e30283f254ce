// Tensors joined along an axis, and cut apart again.
#pragma once
#include <initializer_list>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// y = the tensors one behind the other along `axis`.
///   Shapes    [.., n_i, ..] -> [.., sum n_i, ..]; sizes may be 0
///   Dtypes    any, all alike
///   Gradient  each gets its slice of dy; any order
///   Errors    ShapeError: no tensors, axis out of range, other sizes or ranks differ.  DTypeError: dtypes differ
Tensor concat(std::span<const Tensor> xs, int axis);
Tensor concat(std::initializer_list<Tensor> xs, int axis);

/// y = the tensors one behind the other along a new axis, which is axis `axis` of y.
///   Shapes    n times [..] -> [.., n, ..]; axis in [-rank-1, rank].   Errors: as concat
Tensor stack(std::span<const Tensor> xs, int axis);
Tensor stack(std::initializer_list<Tensor> xs, int axis);

/// Parts of x along `axis`, with the given sizes; views.
///   Gradient  the parts' dys joined, zeros for a part without one; any order
///   Errors    ShapeError: axis out of range, a size is negative, sizes do not add up to that of the axis
std::vector<Tensor> split(const Tensor& x, std::span<const i64> sizes, int axis);
std::vector<Tensor> split(const Tensor& x, std::initializer_list<i64> sizes, int axis);
/// Parts of `size` positions, of which the last may be smaller; one empty part where the axis is empty.
///   Errors    ShapeError: axis out of range, size < 1
std::vector<Tensor> split_every(const Tensor& x, i64 size, int axis);
/// At most n parts of ceil(size / n) positions each, of which the last may be smaller: 7 positions in 3 parts are 3, 3,
/// 1 and in 5 parts 2, 2, 2, 1.   Errors: ShapeError, n < 1
std::vector<Tensor> chunk(const Tensor& x, i64 n, int axis);
/// Every position of `axis` by itself, without that axis; views, none where the axis is empty. Gradient: as split.
std::vector<Tensor> unbind(const Tensor& x, int axis = 0);

/// y[(i + shift) mod n] = x[i] along `axis`, or several, for shifts of either sign; without axes along the flattened x.
///   Gradient  dx = roll(dy, -shift); any order.  Dtypes: any
///   Errors    ShapeError: axis out of range, not as many shifts as axes
Tensor roll(const Tensor& x, i64 shift, int axis);
Tensor roll(const Tensor& x, std::span<const i64> shifts, const Axes& axes);
Tensor roll(const Tensor& x, i64 shift);

}  // namespace moegrad
