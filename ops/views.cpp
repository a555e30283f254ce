#include "ops/views.h"

#include <fmt/format.h>

#include <optional>

#include "core/autograd.h"
#include "core/structure.h"
#include "ops/cast.h"

namespace moegrad {
namespace {

[[noreturn]] void throw_reshape(const Tensor& x, const Shape& shape) {
  throw ShapeError(fmt::format("reshape: the number of elements must stay; got {} for x {} ({} elements)",
                               to_string(shape), to_string(x.shape()), x.size()));
}

// `shape` with its -1 replaced by the size that fits.
Shape complete(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  const int unknown = shape.find(-1);
  if (unknown >= 0) {
    shape[unknown] = 1;
    if (shape.contains(-1) || shape.contains(0)) throw_reshape(x, wanted);
    check_sizes("reshape", shape);
    shape[unknown] = x.size() / shape.elements();
  }
  check_sizes("reshape", shape);
  if (shape.elements() != x.size()) throw_reshape(x, wanted);
  return shape;
}

// Strides under which the storage of x reads as `shape`, if there are any: runs of axes of x that lie one behind the
// other are cut anew, run by run.
std::optional<Strides> strides_for(const Tensor& x, const Shape& shape) {
  Shape old;
  Strides old_strides;
  for (int i = 0; i < x.rank(); ++i) {
    if (x.shape()[i] == 1) continue;
    old.push_back(x.shape()[i]);
    old_strides.push_back(x.strides()[i]);
  }
  Strides strides(shape.rank(), 1);
  int from = 0, to = 0;
  while (from < old.rank()) {
    int from_end = from + 1, to_end = to + 1;
    i64 have = old[from], want = shape[to];
    while (have != want) {
      if (have < want)
        have *= old[from_end++];
      else
        want *= shape[to_end++];
    }
    for (int i = from; i + 1 < from_end; ++i)
      if (old_strides[i] != old_strides[i + 1] * old[i + 1]) return std::nullopt;
    i64 stride = old_strides[from_end - 1];
    for (int i = to_end - 1; i >= to; --i) {
      strides[i] = stride;
      stride *= shape[i];
    }
    from = from_end;
    to = to_end;
  }
  return strides;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& wanted) {
  const Shape shape = complete(x, wanted);
  if (shape == x.shape()) return x;
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->reshape(shape)) return y;
  std::optional<Strides> strides = x.is_contiguous() ? row_major(shape) : strides_for(x, shape);
  if (!strides) return reshape(contiguous(x), shape);
  return record("reshape", view_of(x, shape, *strides, x.body().offset), {x}, saves(kNone),
                [](const GradArgs& g) -> Grads { return {reshape(g.dy, g.shape(0))}; });
}

Tensor permute(const Tensor& x, const Axes& axes_any) {
  Axes axes, inverse(x.rank(), 0);
  if (axes_any.size() == x.rank())
    check_axes("permute", x.shape(), axes_any);
  else
    throw ShapeError(fmt::format("permute: every axis must be named once; got {} for x {}", to_string(axes_any),
                                 to_string(x.shape())));
  Shape shape;
  Strides strides;
  bool same = true;
  for (int i = 0; i < axes_any.size(); ++i) {
    const int a = check_axis("permute", x.shape(), axes_any[i]);
    axes.push_back(a);
    inverse[a] = i;
    shape.push_back(x.shape()[a]);
    strides.push_back(x.strides()[a]);
    same &= a == i;
  }
  if (same) return x;
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->permute(axes)) return y;
  return record(
      "permute", view_of(x, shape, strides, x.body().offset), {x}, saves(kNone),
      [inverse](const GradArgs& g) -> Grads { return {permute(g.dy, inverse)}; },
      [axes] { return fmt::format("axes = {}", to_string(axes)); });
}

Tensor swap_axes(const Tensor& x, int a, int b) {
  Axes axes = all_axes(x.shape());
  std::swap(axes[check_axis("swap_axes", x.shape(), a)], axes[check_axis("swap_axes", x.shape(), b)]);
  return permute(x, axes);
}

Tensor transpose(const Tensor& x) {
  if (x.rank() < 2)
    throw ShapeError(fmt::format("transpose: x must have at least 2 axes; got x {}", to_string(x.shape())));
  return swap_axes(x, -2, -1);
}

Tensor move_axis(const Tensor& x, const Axes& from_any, const Axes& to_any) {
  check_axes("move_axis", x.shape(), from_any);
  check_axes("move_axis", x.shape(), to_any);
  if (from_any.size() != to_any.size())
    throw ShapeError(fmt::format("move_axis: from and to must be as many; got {} and {} for x {}", to_string(from_any),
                                 to_string(to_any), to_string(x.shape())));
  Axes axes(x.rank(), -1), moved;
  for (int i = 0; i < from_any.size(); ++i) {
    moved.push_back(check_axis("move_axis", x.shape(), from_any[i]));
    axes[check_axis("move_axis", x.shape(), to_any[i])] = moved.back();
  }
  int next = 0;
  for (int& a : axes) {
    if (a >= 0) continue;
    while (moved.contains(next)) ++next;
    a = next++;
  }
  return permute(x, axes);
}
Tensor move_axis(const Tensor& x, int from, int to) { return move_axis(x, Axes{from}, Axes{to}); }

Tensor expand(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;  // with each -1 replaced
  for (int i = 1; i <= std::min(x.rank(), shape.rank()); ++i)
    if (i64& n = shape[shape.rank() - i]; n == -1) n = x.shape()[x.rank() - i];
  if (x.shape() == shape) return x;
  check_sizes("expand", shape);
  if (!broadcasts_to(x.shape(), shape))
    throw ShapeError(
        fmt::format("expand: x must broadcast to the shape; got x {} and {}", to_string(x.shape()), to_string(shape)));
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->expand(shape)) return y;
  return record("expand", view_of(x, shape, broadcast_strides(x.shape(), x.strides(), shape), x.body().offset), {x},
                saves(kNone),
                [](const GradArgs& g) -> Grads { return {g.dy}; });  // the engine sums it back with sum_to
}

Tensor unsqueeze(const Tensor& x, int axis) {
  const int rank = x.rank();
  if (axis < -rank - 1 || axis > rank)
    throw ShapeError(fmt::format("unsqueeze: axis must be in [{}, {}]; got {} for x {}", -rank - 1, rank, axis,
                                 to_string(x.shape())));
  Shape shape = x.shape();
  shape.insert(axis < 0 ? axis + rank + 1 : axis, 1);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x, int axis_any) {
  const int axis = check_axis("squeeze", x.shape(), axis_any);
  if (x.shape()[axis] != 1)
    throw ShapeError(
        fmt::format("squeeze: the axis must have size 1; got axis {} of x {}", axis_any, to_string(x.shape())));
  Shape shape = x.shape();
  shape.erase(axis);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x) {
  Shape shape;
  for (i64 n : x.shape())
    if (n != 1) shape.push_back(n);
  return reshape(x, shape);
}

Tensor flatten(const Tensor& x, int first_any, int last_any) {
  if (x.rank() == 0) return reshape(x, {1});
  const int first = check_axis("flatten", x.shape(), first_any), last = check_axis("flatten", x.shape(), last_any);
  if (first > last)
    throw ShapeError(fmt::format("flatten: first must not come after last; got {} and {} for x {}", first_any, last_any,
                                 to_string(x.shape())));
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i > first && i <= last)
      shape.back() *= x.shape()[i];
    else
      shape.push_back(x.shape()[i]);
  }
  return reshape(x, shape);
}

}  // namespace moegrad
