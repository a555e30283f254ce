#include "ops/gather.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/one_hot.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// The routes of an index table with values in [-1, n), checked.
RoutesRef routes_of(const char* op, const Tensor& index, i64 n) {
  try {
    return one_hot_of(one_hot(index, n))->routes();
  } catch (const IndexError& e) {
    throw IndexError(op + std::string(e.what()).substr(std::string("one_hot").size()));
  } catch (const DTypeError& e) {
    throw DTypeError(op + std::string(e.what()).substr(std::string("one_hot").size()));
  }
}

// Along `axis` the class of the row, elsewhere the row's own position.
Labels class_at(int axis, int rank) {
  Labels l;
  for (int i = 0; i < rank; ++i) l.push_back(i == axis ? ~0 : i);
  return l;
}

void check_beside(const char* op, const Tensor& x, int axis, const Tensor& index) {
  bool fits = x.rank() == index.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == axis || x.shape()[i] == index.shape()[i];
  if (!fits)
    throw ShapeError(fmt::format("{}: index must have the shape of x but along axis {}; got index {} for x {}", op,
                                 axis, to_string(index.shape()), to_string(x.shape())));
}

}  // namespace

Tensor take_along(const Tensor& x, int axis_any, const Tensor& index) {
  const int axis = check_axis("take_along", x.shape(), axis_any);
  check_beside("take_along", x, axis, index);
  const RoutesRef routes = routes_of("take_along", index, x.dim(axis));
  return route_sum(routes, {}, x, class_at(axis, x.rank()), all_axes(index.shape()));
}

Tensor scatter_add(const Tensor& x, int axis_any, const Tensor& index, const Tensor& source) {
  const int axis = check_axis("scatter_add", x.shape(), axis_any);
  check_beside("scatter_add", x, axis, index);
  if (source.shape() != index.shape())
    throw ShapeError(fmt::format("scatter_add: source must have the shape of index; got source {} and index {}",
                                 to_string(source.shape()), to_string(index.shape())));
  const RoutesRef routes = routes_of("scatter_add", index, x.dim(axis));
  return x + route_sum(routes, {}, source, all_axes(index.shape()), class_at(axis, x.rank()));
}

Tensor index_select(const Tensor& x, int axis_any, const Tensor& index) {
  const int axis = check_axis("index_select", x.shape(), axis_any);
  // Axes before `axis` are rows too, along which the index repeats: then x is read as it lies.
  Shape rows(x.shape().begin(), x.shape().begin() + axis);
  Labels lx, ly, own;
  for (int i = 0; i < axis; ++i) lx.push_back(i), ly.push_back(i);
  for (int i = 0; i < index.rank(); ++i)
    own.push_back(rows.rank()), ly.push_back(rows.rank()), rows.push_back(index.shape()[i]);
  lx.push_back(~0);
  for (int i = axis + 1; i < x.rank(); ++i) lx.push_back(kFeature + i), ly.push_back(kFeature + i);
  const RoutesRef plain = routes_of("index_select", index, x.dim(axis));
  const auto routes = axis == 0
                          ? plain
                          : std::make_shared<const Routes>(
                                rows, std::vector<Tensor>{lift_to_rows(plain->index(0), own, rows)}, plain->classes());
  return route_sum(routes, {}, x, lx, ly);
}

Tensor embedding(const Tensor& weight, const Tensor& index) {
  if (weight.rank() != 2)
    throw ShapeError(fmt::format("embedding: weight must be [V, D]; got {}", to_string(weight.shape())));
  const RoutesRef routes = routes_of("embedding", index, weight.dim(0));
  Labels ly = all_axes(index.shape());
  ly.push_back(kFeature);
  return route_sum(routes, {}, weight, {~0, kFeature}, ly);
}

}  // namespace moegrad
