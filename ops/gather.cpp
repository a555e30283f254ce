#include "ops/gather.h"

#include <fmt/format.h>

#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/indices.h"
#include "ops/one_hot.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "ops/where.h"

namespace moegrad {

// ---- index tables

detail::SliceRoutes detail::slice_routes(const char* op, const Shape& shape, int axis, const Tensor& index) {
  // Axes before `axis` are rows too, along which the index repeats: then x is read as it lies.
  Shape rows(shape.begin(), shape.begin() + axis);
  SliceRoutes s;
  Labels own;
  for (int i = 0; i < axis; ++i) s.whole.push_back(i), s.slices.push_back(i);
  for (int i = 0; i < index.rank(); ++i)
    own.push_back(rows.rank()), s.slices.push_back(rows.rank()), rows.push_back(index.shape()[i]);
  s.whole.push_back(~0);
  for (int i = axis + 1; i < shape.rank(); ++i) s.whole.push_back(kFeature + i), s.slices.push_back(kFeature + i);
  s.routes = checked_routes(op, index, shape[axis]);
  if (axis > 0)
    s.routes = std::make_shared<const Routes>(rows, std::vector<Tensor>{lift_to_rows(s.routes->index(0), own, rows)},
                                              s.routes->classes());
  return s;
}

Tensor detail::joint_index(const char* op, const Tensor& x, std::span<const Tensor> indices) {
  no_grad guard;
  const int count = static_cast<int>(indices.size());
  if (count < 1 || count > x.rank())
    throw ShapeError(fmt::format("{}: there must be from 1 to {} indices; got {} for x {}", op, x.rank(), count,
                                 to_string(x.shape())));
  Tensor joint, empty_entry;
  for (int i = 0; i < count; ++i) {
    check_same_device(op, x, indices[static_cast<std::size_t>(i)]);
    const Tensor at = checked_routes(op, indices[static_cast<std::size_t>(i)], x.shape()[i])->index(0);
    if (joint) broadcast(op, joint.shape(), at.shape());
    const Tensor none = lt(at, scalar_like(0, at));
    empty_entry = i == 0 ? none : logical_or(empty_entry, none);
    joint = i == 0 ? at : joint * static_cast<double>(x.shape()[i]) + at;
  }
  return masked_fill(joint, empty_entry, -1);
}

Tensor detail::join_leading(const Tensor& x, int axes) {
  Shape shape{1};
  for (int i = 0; i < axes; ++i) shape[0] *= x.shape()[i];
  for (int i = axes; i < x.rank(); ++i) shape.push_back(x.shape()[i]);
  return reshape(x, shape);
}

bool detail::within(const Shape& small, const Shape& large, int axis) {
  bool fits = small.rank() == large.rank();
  for (int i = 0; fits && i < small.rank(); ++i) fits = i == axis || small[i] <= large[i];
  return fits;
}

void detail::check_index_within(const char* op, const Shape& index, const Shape& x, int axis) {
  if (!within(index, x, axis))
    throw ShapeError(fmt::format("{}: index must be no larger than x along every axis but {}; got index {} and x {}",
                                 op, axis, to_string(index), to_string(x)));
}

Tensor detail::corner(const Tensor& x, const Shape& shape, int axis) {
  Tensor y = x;
  for (int i = 0; i < shape.rank(); ++i)
    if (i != axis) y = slice(y, i, {0, shape[i]});
  return y;
}

// ---- elements

namespace {

// Along `axis` the class of the row, elsewhere the row's own position.
Labels class_at(int axis, int rank) {
  Labels l;
  for (int i = 0; i < rank; ++i) l.push_back(i == axis ? ~0 : i);
  return l;
}

// x and index have the same sizes but along `axis`.
Tensor take_elements(const char* op, const Tensor& x, int axis, const Tensor& index) {
  check_same_device(op, x, index);
  const RoutesRef routes = detail::checked_routes(op, index, x.dim(axis));
  return route_sum(routes, {}, x, class_at(axis, x.rank()), all_axes(index.shape()));
}

}  // namespace

Tensor take_along(const Tensor& x, int axis_any, const Tensor& index) {
  const int axis = check_axis("take_along", x.shape(), axis_any);
  Shape from = x.shape(), to = index.shape();
  bool fits = x.rank() == index.rank();
  for (int i = 0; fits && i < x.rank(); ++i) {
    if (i == axis) continue;
    fits = from[i] == to[i] || from[i] == 1 || to[i] == 1;
    from[i] = to[i] = from[i] == 1 ? to[i] : from[i];
  }
  if (!fits)
    throw ShapeError(
        fmt::format("take_along: sizes of x and index must match or be 1 but along axis {}; got index {} for "
                    "x {}",
                    axis, to_string(index.shape()), to_string(x.shape())));
  return take_elements("take_along", expand(x, from), axis, expand(index, to));
}

Tensor gather(const Tensor& x, int axis_any, const Tensor& index) {
  const int axis = check_axis("gather", x.shape(), axis_any);
  detail::check_index_within("gather", index.shape(), x.shape(), axis);
  return take_elements("gather", detail::corner(x, index.shape(), axis), axis, index);
}

// ---- slices

Tensor index_select(const Tensor& x, int axis_any, const Tensor& index) {
  const int axis = check_axis("index_select", x.shape(), axis_any);
  check_same_device("index_select", x, index);
  const detail::SliceRoutes s = detail::slice_routes("index_select", x.shape(), axis, index);
  return route_sum(s.routes, {}, x, s.whole, s.slices);
}

Tensor index_at(const Tensor& x, std::span<const Tensor> indices) {
  const Tensor index = detail::joint_index("index_at", x, indices);
  return index_select(detail::join_leading(x, static_cast<int>(indices.size())), 0, index);
}
Tensor index_at(const Tensor& x, std::initializer_list<Tensor> indices) {
  return index_at(x, std::span<const Tensor>(indices.begin(), indices.size()));
}

Tensor embedding(const Tensor& weight, const Tensor& index, EmbeddingOptions options) {
  if (weight.rank() != 2)
    throw ShapeError(fmt::format("embedding: weight must be [V, D]; got {}", to_string(weight.shape())));
  check_same_device("embedding", weight, index);
  const i64 padding = options.padding.value_or(-1);
  if (options.padding && (padding < 0 || padding >= weight.dim(0)))
    throw IndexError(fmt::format("embedding: padding must be in [0, {}); got {}", weight.dim(0), padding));
  const RoutesRef routes = detail::checked_routes("embedding", index, weight.dim(0));
  Labels ly = all_axes(index.shape());
  ly.push_back(kFeature);
  if (!options.padding) return route_sum(routes, {}, weight, {~0, kFeature}, ly);
  // The padding entries take no route, and so no gradient; the row is put in by value.
  const Tensor at = routes->index(0), is_padding = eq(at, scalar_like(static_cast<double>(padding), at));
  const auto others = std::make_shared<const Routes>(
      routes->rows(), std::vector<Tensor>{masked_fill(at, is_padding, -1)}, routes->classes());
  const Tensor y = route_sum(others, {}, weight, {~0, kFeature}, ly);
  return where(unsqueeze(is_padding, -1), weight.detach()[padding], y);
}

Tensor wrap_index(const Tensor& index_any, i64 n) {
  if (!is_int(index_any.dtype())) throw_dtype("wrap_index", "i64 or i32 (an index)", index_any.dtype());
  if (n < 0) throw ShapeError(fmt::format("wrap_index: n must be >= 0; got {}", n));
  no_grad guard;
  return detail::checked_index("wrap_index", index_any, {.low = -n, .high = n, .wraps = true});
}

}  // namespace moegrad
