#include "ops/concat.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/autograd.h"
#include "core/structure.h"
#include "ops/loops.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// Shape of the joined tensors.
Shape joined_shape(const char* op, std::span<const Tensor> xs, int axis) {
  Shape shape = xs[0].shape();
  for (std::size_t i = 1; i < xs.size(); ++i) {
    check_same_device(op, xs[0], xs[i]);
    check_same_dtype(op, xs[0], xs[i]);
    Shape own = xs[i].shape();
    const bool alike = own.rank() == shape.rank();
    if (alike) own[axis] = xs[0].shape()[axis];
    if (!alike || own != xs[0].shape())
      throw ShapeError(fmt::format("{}: sizes must match but for axis {}; got tensor 0 {} and tensor {} {}", op, axis,
                                   to_string(xs[0].shape()), i, to_string(xs[i].shape())));
    shape[axis] += xs[i].shape()[axis];
  }
  check_sizes(op, shape);
  return shape;
}

void check_some(const char* op, std::span<const Tensor> xs) {
  if (xs.empty()) throw ShapeError(fmt::format("{}: there must be at least one tensor; got none", op));
}

// Copies x to y at `begin` along `axis`.
void put(const Tensor& x, const Tensor& y, int axis, i64 begin) {
  const i64 offset = x.size() > 0 ? begin * y.strides()[axis] : 0;
  const Tensor part = view_of(y, x.shape(), y.strides(), offset);
  const Nest<2> nest = nest_over<2>(x.shape(), {&x, &part});
  with_any(x.dtype(),
           [&]<class T>() { MOEGRAD_LAUNCH(x.device(), map1, formula::Same{}, x.data<T>(), part.data<T>(), nest); });
}

// The gradients of the parts of a tensor as one; zeros for a part that got none.
Tensor joined_gradients(const GradArgs& g, const std::vector<i64>& sizes, int axis) {
  std::vector<Tensor> dys;
  Shape shape = g.shape(0);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    shape[axis] = sizes[i];
    const Tensor& dy = g.dys(static_cast<int>(i));
    dys.push_back(dy ? dy : zeros(shape, g.dtype(0), g.device()));
  }
  return concat(dys, axis);
}

}  // namespace

Tensor concat(std::span<const Tensor> xs, int axis_any) {
  check_some("concat", xs);
  const int axis = check_axis("concat", xs[0].shape(), axis_any);
  const Shape shape = joined_shape("concat", xs, axis);
  if (xs.size() == 1) return xs[0];
  Tensor y = empty(shape, xs[0].dtype(), xs[0].device());
  i64 begin = 0;
  for (const Tensor& x : xs) {
    put(x, y, axis, begin);
    begin += x.shape()[axis];
  }
  return record(
      "concat", y, xs, saves(kNone),
      [axis](const GradArgs& g) -> Grads {
        Grads parts;
        i64 at = 0;
        for (int i = 0; i < g.inputs(); ++i) {
          const i64 n = g.shape(i)[axis];
          parts.push_back(g.needs(i) ? slice(g.dy, axis, {at, at + n}) : Tensor{});
          at += n;
        }
        return parts;
      },
      [axis] { return fmt::format("axis = {}", axis); });
}
Tensor concat(std::initializer_list<Tensor> xs, int axis) {
  return concat(std::span<const Tensor>(xs.begin(), xs.size()), axis);
}

Tensor stack(std::span<const Tensor> xs, int axis) {
  check_some("stack", xs);
  const int rank = xs[0].rank();
  if (axis < -rank - 1 || axis > rank)
    throw ShapeError(fmt::format("stack: axis must be in [{}, {}]; got {} for tensors {}", -rank - 1, rank, axis,
                                 to_string(xs[0].shape())));
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    check_same_dtype("stack", xs[0], xs[i]);
    if (xs[i].shape() != xs[0].shape())
      throw ShapeError(fmt::format("stack: shapes must match; got tensor 0 {} and tensor {} {}",
                                   to_string(xs[0].shape()), i, to_string(xs[i].shape())));
    parts.push_back(unsqueeze(xs[i], axis));
  }
  return concat(parts, axis < 0 ? axis + rank + 1 : axis);
}
Tensor stack(std::initializer_list<Tensor> xs, int axis) {
  return stack(std::span<const Tensor>(xs.begin(), xs.size()), axis);
}

std::vector<Tensor> split(const Tensor& x, std::span<const i64> sizes, int axis_any) {
  const int axis = check_axis("split", x.shape(), axis_any);
  i64 left = x.shape()[axis];
  bool fits = true;
  for (const i64 n : sizes) {
    fits = fits && n >= 0 && n <= left;
    if (fits) left -= n;
  }
  if (!fits || left != 0)
    throw ShapeError(fmt::format("split: sizes must add up to that of the axis; got {} for axis {} of x {}",
                                 fmt::format("[{}]", fmt::join(sizes, ", ")), axis_any, to_string(x.shape())));
  const bool sliced = structure_of(x) || sizes.size() < 2;  // one part needs no node for several
  std::vector<Tensor> parts;
  i64 begin = 0;
  for (const i64 n : sizes) {
    Shape shape = x.shape();
    shape[axis] = n;
    parts.push_back(sliced ? slice(x, axis, {begin, begin + n})
                           : view_of(x, shape, x.strides(), x.body().offset + (n > 0 ? begin * x.strides()[axis] : 0)));
    begin += n;
  }
  if (sliced) return parts;
  return record(
      "split", parts, {&x, 1}, saves(kNone),
      [axis, sizes = std::vector<i64>(sizes.begin(), sizes.end())](const GradArgs& g) -> Grads {
        return {joined_gradients(g, sizes, axis)};
      },
      [axis, n = sizes.size()] { return fmt::format("axis = {}, {} parts", axis, n); });
}
std::vector<Tensor> split(const Tensor& x, std::initializer_list<i64> sizes, int axis) {
  return split(x, std::span<const i64>(sizes.begin(), sizes.size()), axis);
}

std::vector<Tensor> split_every(const Tensor& x, i64 size, int axis_any) {
  const int axis = check_axis("split_every", x.shape(), axis_any);
  if (size < 1)
    throw ShapeError(fmt::format("split_every: size must be at least 1; got {} for x {}", size, to_string(x.shape())));
  const i64 n = x.shape()[axis];
  std::vector<i64> sizes;
  for (i64 begin = 0; begin < n || sizes.empty(); begin += sizes.back()) sizes.push_back(std::min(size, n - begin));
  return split(x, sizes, axis);
}

std::vector<Tensor> chunk(const Tensor& x, i64 n, int axis_any) {
  const int axis = check_axis("chunk", x.shape(), axis_any);
  if (n < 1) throw ShapeError(fmt::format("chunk: n must be at least 1; got {} for x {}", n, to_string(x.shape())));
  const i64 size = x.shape()[axis];
  return split_every(x, std::max<i64>(size / n + (size % n > 0 ? 1 : 0), 1), axis);
}

std::vector<Tensor> unbind(const Tensor& x, int axis_any) {
  const int axis = check_axis("unbind", x.shape(), axis_any);
  std::vector<Tensor> parts;
  if (x.shape()[axis] == 0) return parts;
  for (const Tensor& part : split_every(x, 1, axis)) parts.push_back(squeeze(part, axis));
  return parts;
}

Tensor roll(const Tensor& x, i64 shift_any, int axis_any) {
  const int axis = check_axis("roll", x.shape(), axis_any);
  const i64 n = x.shape()[axis];
  const i64 shift = n == 0 ? 0 : (shift_any % n + n) % n;
  if (shift == 0) return x;
  Tensor y;
  {
    no_grad guard;
    y = concat({slice(x, axis, {n - shift, n}), slice(x, axis, {0, n - shift})}, axis);
  }
  return record(
      "roll", y, {x}, saves(kNone), [axis, shift](const GradArgs& g) -> Grads { return {roll(g.dy, -shift, axis)}; },
      [axis, shift] { return fmt::format("axis = {}, shift = {}", axis, shift); });
}

Tensor roll(const Tensor& x, std::span<const i64> shifts, const Axes& axes) {
  if (static_cast<int>(shifts.size()) != axes.size())
    throw ShapeError(fmt::format("roll: there must be a shift for every axis; got {} for axes {} of x {}",
                                 fmt::format("[{}]", fmt::join(shifts, ", ")), to_string(axes), to_string(x.shape())));
  Tensor y = x;
  for (int i = 0; i < axes.size(); ++i) y = roll(y, shifts[static_cast<std::size_t>(i)], axes[i]);
  return y;
}
Tensor roll(const Tensor& x, i64 shift) { return reshape(roll(flatten(x), shift, 0), x.shape()); }

}  // namespace moegrad
