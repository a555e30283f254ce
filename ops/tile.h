// Repetition, and grids.
#pragma once
#include <initializer_list>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// The whole of x, times[i] times along axis i: [a b] becomes [a b a b]. Aligned with the last axes: x gets leading
/// axes of size 1 where there are more numbers, and leading axes of x stay where there are fewer.
///   Shapes    x [.., n, ..] -> y [.., times n, ..].  Dtypes: any
///   Gradient  dx = dy summed over the repeats; any order
///   Errors    ShapeError: a number is negative
Tensor tile(const Tensor& x, const Shape& times);

/// Each position of `axis` `times` in a row: [a b] becomes [a a b b]. Without an axis: of the flattened x.
///   Shapes    x [.., n, ..] -> y [.., times n, ..].  Dtypes: any
///   Gradient  dx = dy summed over the repeats; any order
///   Errors    ShapeError: axis out of range, times < 0
Tensor repeat_interleave(const Tensor& x, i64 times, int axis);
Tensor repeat_interleave(const Tensor& x, i64 times);
/// Position i as often as counts[i] says. Synchronises: the size of the result is read back.
///   Shapes    x [.., n, ..], counts [n] (or [], for all) -> y [.., sum of counts, ..]
///   Dtypes    x any; counts i64 or i32, >= 0.  Gradient: as above; none to counts
///   Errors    ShapeError: counts have another shape, their sum is above 2^61.  IndexError: one is negative.
///             DTypeError
Tensor repeat_interleave(const Tensor& x, const Tensor& counts, int axis);
Tensor repeat_interleave(const Tensor& x, const Tensor& counts);

/// Coordinates of a grid: y_i[.., j_i, ..] = x_i[j_i], expanded (no copies).
///   Shapes    x_i [n_i] (or [], read as [1]) -> y_i [n_0, n_1, ..]; under swap_first_two [n_1, n_0, ..]
///   Gradient  dx_i = dy_i summed over the other axes; any order.  Dtypes: any
///   Errors    ShapeError: an x has more than one axis
std::vector<Tensor> meshgrid(std::span<const Tensor> xs, bool swap_first_two = false);
std::vector<Tensor> meshgrid(std::initializer_list<Tensor> xs, bool swap_first_two = false);

}  // namespace moegrad
