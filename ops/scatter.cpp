#include "ops/scatter.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/gather.h"
#include "ops/one_hot.h"
#include "ops/pad.h"
#include "ops/views.h"
#include "ops/where.h"

namespace moegrad {
namespace {

void check_operands(const char* op, const Tensor& x, const Tensor& source, bool adds) {
  check_same_device(op, x, source);
  check_same_dtype(op, x, source);
  if (adds && x.dtype() == DType::boolean) throw_dtype(op, "a number", x.dtype());
}

// What index says of x: its axis and its routes.
struct Entries {
  int axis;
  RoutesRef routes;
};
Entries entries_of(const char* op, const Tensor& x, int axis_any, const Tensor& index) {
  const int axis = check_axis(op, x.shape(), axis_any);
  check_same_device(op, x, index);
  detail::check_index_within(op, index.shape(), x.shape(), axis);
  return {axis, detail::checked_routes(op, index, x.shape()[axis])};
}

// The first entries of source, one for each of index.
Tensor entries_from(const char* op, const Tensor& source, const Shape& index) {
  if (!detail::within(index, source.shape(), -1))
    throw ShapeError(
        fmt::format("{}: source must be no smaller than index along every axis; got source {} and index {}", op,
                    to_string(source.shape()), to_string(index)));
  return detail::corner(source, index, -1);
}

// y with `value` behind it along every axis, up to `shape`.
Tensor fill_up(const Tensor& y, const Shape& shape, double value) {
  if (y.shape() == shape) return y;
  std::vector<Padding> paddings;
  for (int i = 0; i < shape.rank(); ++i) paddings.push_back({0, shape[i] - y.shape()[i]});
  return pad(y, paddings, value);
}

// For every position of `axis`, the last entry that goes there, or -1.
Tensor last_entries(const Tensor& index, int axis, i64 n) {
  const AxisBlocks b = blocks_around(index.shape(), axis);
  const LastPlan p{b.outer, b.count, n, b.inner};
  Shape shape = index.shape();
  shape[axis] = n;
  const Tensor last = empty(shape, DType::i64, index.device());
  if (last.size() > 0) MOEGRAD_LAUNCH(index.device(), last_entries, index.data<i64>(), last.data<i64>(), p);
  return last;
}

Tensor is_empty(const Tensor& last) { return lt(last, scalar_like(0, last)); }

}  // namespace

// ---- elements

Tensor scatter_add(const Tensor& x, int axis_any, const Tensor& index, const Tensor& source_any) {
  check_operands("scatter_add", x, source_any, true);
  const Entries e = entries_of("scatter_add", x, axis_any, index);
  const Tensor source = entries_from("scatter_add", source_any, index.shape());
  Labels to = all_axes(index.shape());
  to[e.axis] = ~0;
  return x + fill_up(route_sum(e.routes, {}, source, all_axes(index.shape()), to), x.shape(), 0);
}

Tensor scatter(const Tensor& x, int axis_any, const Tensor& index, const Tensor& source_any) {
  check_operands("scatter", x, source_any, false);
  const Entries e = entries_of("scatter", x, axis_any, index);
  const Tensor source = entries_from("scatter", source_any, index.shape());
  const Tensor last = last_entries(e.routes->index(0), e.axis, x.shape()[e.axis]);
  const Tensor written = fill_up(take_along(source, e.axis, last), x.shape(), 0);
  return where(fill_up(is_empty(last), x.shape(), 1), x, written);
}

Tensor scatter(const Tensor& x, int axis_any, const Tensor& index, double value) {
  const Entries e = entries_of("scatter", x, axis_any, index);
  const Tensor last = last_entries(e.routes->index(0), e.axis, x.shape()[e.axis]);
  return masked_fill(x, logical_not(fill_up(is_empty(last), x.shape(), 1)), value);
}

// ---- slices

Tensor index_add(const Tensor& x, int axis_any, const Tensor& index, const Tensor& source) {
  check_operands("index_add", x, source, true);
  check_same_device("index_add", x, index);
  const int axis = check_axis("index_add", x.shape(), axis_any);
  Shape expected = x.shape();
  expected.erase(axis);
  for (int i = 0; i < index.rank(); ++i) expected.insert(axis + i, index.shape()[i]);
  if (source.shape() != expected)
    throw ShapeError(
        fmt::format("index_add: source must have the shape of the slices, {}; got {} for index {} and x {}",
                    to_string(expected), to_string(source.shape()), to_string(index.shape()), to_string(x.shape())));
  const detail::SliceRoutes s = detail::slice_routes("index_add", x.shape(), axis, index);
  return x + route_sum(s.routes, {}, source, s.slices, s.whole);
}

Tensor index_put(const Tensor& x, std::span<const Tensor> indices, const Tensor& source_any, IndexPutOptions options) {
  check_operands("index_put", x, source_any, options.accumulate);
  const Tensor index = detail::joint_index("index_put", x, indices);
  const int count = static_cast<int>(indices.size());
  Shape shape = index.shape();
  for (int i = count; i < x.rank(); ++i) shape.push_back(x.shape()[i]);
  if (broadcast("index_put", source_any.shape(), shape) != shape)
    throw ShapeError(fmt::format("index_put: source must broadcast to the slices, {}; got {}", to_string(shape),
                                 to_string(source_any.shape())));
  const Tensor rows = detail::join_leading(x, count), entry = flatten(index);
  const Tensor source = detail::join_leading(expand(source_any, shape), index.rank());
  if (options.accumulate) return reshape(index_add(rows, 0, entry, source), x.shape());
  const Tensor last = last_entries(entry, 0, rows.dim(0));
  Shape beside(rows.rank(), 1);
  beside[0] = last.size();
  return reshape(where(reshape(is_empty(last), beside), rows, index_select(source, 0, last)), x.shape());
}
Tensor index_put(const Tensor& x, std::initializer_list<Tensor> indices, const Tensor& source,
                 IndexPutOptions options) {
  return index_put(x, std::span<const Tensor>(indices.begin(), indices.size()), source, options);
}

// ---- CPU kernel

void cpu::last_entries(const i64* index, i64* last, const LastPlan& p) {
  // A task is one column: entries j are walked in order, so the last one stays.
  parallel_for(p.outer * p.inner, (1 << 14) / (p.m + p.n + 1) + 1, [&](i64 begin, i64 end) {
    for (i64 task = begin; task < end; ++task) {
      const i64* from = index + task / p.inner * p.m * p.inner + task % p.inner;
      i64* to = last + task / p.inner * p.n * p.inner + task % p.inner;
      for (i64 i = 0; i < p.n; ++i) to[i * p.inner] = -1;
      for (i64 j = 0; j < p.m; ++j)
        if (const i64 at = from[j * p.inner]; at >= 0) to[at * p.inner] = j;
    }
  });
}

}  // namespace moegrad
