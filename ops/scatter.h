// Writing at tensors of positions, out of place: what is written to comes first. Indices are as in ops/gather.h: i64 or
// i32 without a gradient, and an entry of -1 writes nothing.
//
// Where several entries meet: scatter_add and index_add add them up in the order of the entries; scatter and index_put
// keep the last entry in row-major order, and only that one gets a gradient. Values and gradients have the same bits
// for any number of threads.
#pragma once
#include <initializer_list>
#include <span>

#include "core/tensor.h"

namespace moegrad {

/// y = x, plus source[.., j, ..] added at position index[.., j, ..] of `axis`.
///   Shapes    x [.., n, ..] -> y, same shape; index [.., m, ..] no larger than x along the other axes, source no
///             smaller than index: its first entries are used
///   Dtypes    x and source f32, f64, bf16, i32 or i64, both alike (integers wrap around); index with values in [-1, n)
///   Gradient  dx = dy, dsource = gather(dy); any order
///   Errors    ShapeError: sizes as above.  IndexError: a value outside [-1, n).  DTypeError
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source);

/// y = x, but source[.., j, ..] (or one value) at position index[.., j, ..] of `axis`.
///   Shapes    as scatter_add
///   Dtypes    x any, source alike
///   Gradient  dx = dy where nothing was written; dsource = dy where the entry was the last one there; any order
///   Errors    as scatter_add
Tensor scatter(const Tensor& x, int axis, const Tensor& index, const Tensor& source);
Tensor scatter(const Tensor& x, int axis, const Tensor& index, double value);

/// y = x, plus whole slices of source added at the positions `index` of `axis`: the adjoint of index_select.
///   Shapes    x [a.., n, b..], index [..], source [a.., index axes.., b..] -> y, shape of x
///   Dtypes    as scatter_add
///   Gradient  dx = dy, dsource = index_select(dy); any order
///   Errors    ShapeError: source has another shape.  IndexError: a value outside [-1, n).  DTypeError
Tensor index_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source);

struct IndexPutOptions {
  bool accumulate = false;  ///< add to x, and up where entries meet
};
/// y = x, but y[i[..], j[..], ..] = source[..]: slices put at positions of the leading axes, taken together as in
/// index_at.
///   Shapes    x [n0, n1, .., b..]; indices broadcast to [..]; source broadcasts to [.., b..]
///   Dtypes    x any, source alike; a sum needs numbers
///   Gradient  as scatter (or scatter_add, under accumulate); any order
///   Errors    as index_at, and ShapeError: source does not broadcast.  DTypeError
Tensor index_put(const Tensor& x, std::span<const Tensor> indices, const Tensor& source, IndexPutOptions options = {});
Tensor index_put(const Tensor& x, std::initializer_list<Tensor> indices, const Tensor& source,
                 IndexPutOptions options = {});

// Kernel, called only by ops/scatter.cpp. index [outer, m, inner], last [outer, n, inner], contiguous:
// last[o, p, i] = the largest j with index[o, j, i] = p, or -1. The same for any number of threads.
struct LastPlan {
  i64 outer, m, n, inner;
};
namespace cpu {
void last_entries(const i64* index, i64* last, const LastPlan& plan);
}
namespace cuda {
void last_entries(const i64* index, i64* last, const LastPlan& plan);
}

}  // namespace moegrad
