// Reading by tensors of positions: thin wrappers of the two route ops. ops/scatter.h has the ops that write.
//
// Indices are i64 or i32 and have no gradient. -1 is an empty entry, which reads zeros (false); it does not mean the
// last position. `wrap_index` brings indices in Python's sense into [0, n). Gradients have the same bits for any number
// of threads. A value out of range is an error at the call on a CPU; a GPU takes it for -1 and reports it at the next
// call that waits.
#pragma once
#include <initializer_list>
#include <optional>
#include <span>

#include "core/tensor.h"
#include "ops/routes.h"

namespace moegrad {

/// y[.., j, ..] = x[.., index[.., j, ..], ..] along `axis`: one index per element.
///   Shapes    x [.., n, ..], index [.., m, ..] -> y [.., m, ..]; the other axes broadcast against each other
///   Dtypes    x any; index i64 or i32 with values in [-1, n)
///   Gradient  dx = scatter_add of dy; any order
///   Errors    ShapeError: ranks differ, other axes do not broadcast.  IndexError: a value outside [-1, n)
Tensor take_along(const Tensor& x, int axis, const Tensor& index);

/// take_along by an index that may be smaller than x along the other axes: y[i, j] = x[i, index[i, j]] for those i that
/// index has. Dtypes and gradient as there.
///   Errors    as take_along, and ShapeError: index is larger than x along another axis
Tensor gather(const Tensor& x, int axis, const Tensor& index);

/// y = x at the positions `index` of `axis`: whole slices.
///   Shapes    x [a.., n, b..], index [..] -> y [a.., index axes.., b..]
///   Dtypes    x any; index i64 or i32 with values in [-1, n)
///   Gradient  dx = slices of dy added up; any order.  Errors: as take_along
Tensor index_select(const Tensor& x, int axis, const Tensor& index);

/// y[..] = x[i[..], j[..], ..]: the leading axes of x at positions taken together, entry by entry.
///   Shapes    x [n0, n1, .., b..], indices broadcast to [..] -> y [.., b..]; an entry with -1 in any index is empty
///   Dtypes    as take_along.  Gradient: dx = index_add of dy; any order
///   Errors    ShapeError: no index or more than axes, indices do not broadcast.  IndexError: a value outside [-1, n)
Tensor index_at(const Tensor& x, std::span<const Tensor> indices);
Tensor index_at(const Tensor& x, std::initializer_list<Tensor> indices);

struct EmbeddingOptions {
  std::optional<i64> padding = {};  ///< a row of the table that is read but gets no gradient
};
/// Rows of a table: y[.., :] = weight[index[..], :].
///   Shapes    weight [V, D], index [..] i64 or i32 -> y [.., D]
///   Dtypes    as take_along
///   Gradient  dweight: rows of dy added up by index, but none to the row `padding`; any order
///   Errors    ShapeError: weight is no matrix.  IndexError: a value outside [-1, V), a padding outside [0, V)
Tensor embedding(const Tensor& weight, const Tensor& index, EmbeddingOptions options = {});

/// Positions as Python counts them, negative ones from the end: y = index < 0 ? index + n : index.
///   Shapes    index [..] i64 or i32 -> y i64 [..].  Gradient: none
///   Errors    IndexError: a value outside [-n, n).  ShapeError: n < 0.  DTypeError: index is no integer
Tensor wrap_index(const Tensor& index, i64 n);

// For ops of this family.
namespace detail {
/// How index_select reads and index_add writes slices of axis `axis` of a tensor of `shape`.
struct SliceRoutes {
  RoutesRef routes;
  Labels whole, slices;  // labels of x and of its slices
};
SliceRoutes slice_routes(const char* op, const Shape& shape, int axis, const Tensor& index);
/// The positions of `indices` as one index of their common shape into the leading axes of x, flattened.
Tensor joint_index(const char* op, const Tensor& x, std::span<const Tensor> indices);
/// x with its first `axes` axes joined into one.
Tensor join_leading(const Tensor& x, int axes);
/// Whether `small` has the axes of `large`, none but `axis` longer (-1: none).
bool within(const Shape& small, const Shape& large, int axis);
/// ShapeError, in the name of `op`, unless within(index, x, axis).
void check_index_within(const char* op, const Shape& index, const Shape& x, int axis);
/// The first positions of x along every axis but `axis`, as many as `shape` has, which is within x.
Tensor corner(const Tensor& x, const Shape& shape, int axis);
}  // namespace detail

}  // namespace moegrad
