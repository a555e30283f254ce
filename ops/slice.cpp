#include "ops/slice.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "core/structure.h"
#include "ops/arithmetic.h"
#include "ops/loops.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// The positions of a range on an axis of n: first, how many, step.
struct Positions {
  i64 begin, count, step;
};
Positions positions_of(const Tensor& x, Range r, i64 n) {
  if (r.step == 0) throw IndexError(fmt::format("slice: step must not be 0; got x {}", to_string(x.shape())));
  r.step = std::clamp<i64>(r.step, -n - 1, n + 1);  // a longer step meets one position, too, and may overflow
  const auto wrap = [n](i64 i) { return i < 0 ? std::max<i64>(i + n, -1) : i; };
  if (r.step > 0) {
    const i64 begin = std::clamp<i64>(wrap(r.begin), 0, n), end = std::clamp<i64>(wrap(r.end), 0, n);
    return {begin, begin < end ? (end - begin - 1) / r.step + 1 : 0, r.step};
  }
  // Backwards: kEnd as the end means "down to and with position 0".
  const i64 begin = std::min<i64>(wrap(r.begin), n - 1), end = r.end == kEnd ? -1 : std::min<i64>(wrap(r.end), n - 1);
  return {begin, begin > end ? (begin - end - 1) / -r.step + 1 : 0, r.step};
}

// The part of y that `place` fills.
Tensor part_of(const Tensor& y, int axis, const Positions& p) {
  Shape shape = y.shape();
  Strides strides = y.strides();
  const i64 offset = y.body().offset + (p.count > 0 ? p.begin * strides[axis] : 0);
  shape[axis] = p.count;
  strides[axis] *= p.step;
  return view_of(y, shape, strides, offset);
}

Tensor slice_positions(const Tensor& x, int axis, const Positions& p) {
  const i64 n = x.shape()[axis];
  if (p.begin == 0 && p.step == 1 && p.count == n) return x;
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->slice(axis, p.begin, p.count, p.step)) return y;
  return record(
      "slice", part_of(x, axis, p), {x}, saves(kNone),
      [axis, n, p](const GradArgs& g) -> Grads { return {place(g.dy, axis, n, p.begin, p.step)}; },
      [axis, p] {
        return fmt::format("axis = {}, begin = {}, count = {}, step = {}", axis, p.begin, p.count, p.step);
      });
}

}  // namespace

Tensor slice(const Tensor& x, int axis_any, Range range) {
  const int axis = check_axis("slice", x.shape(), axis_any);
  return slice_positions(x, axis, positions_of(x, range, x.shape()[axis]));
}

Tensor select(const Tensor& x, int axis_any, i64 position) {
  const int axis = check_axis("select", x.shape(), axis_any);
  const i64 n = x.shape()[axis];
  if (position < -n || position >= n)
    throw IndexError(fmt::format("select: position must be in [{}, {}); got {} for axis {} of x {}", -n, n, position,
                                 axis_any, to_string(x.shape())));
  return squeeze(slice_positions(x, axis, {position < 0 ? position + n : position, 1, 1}), axis);
}

Tensor place(const Tensor& x, int axis_any, i64 n, i64 begin, i64 step, double fill) {
  const int axis = check_axis("place", x.shape(), axis_any);
  const i64 count = x.shape()[axis];
  Shape shape = x.shape();
  shape[axis] = n;
  check_sizes("place", shape);
  const auto fits = [&] {  // begin + (count - 1) step, without overflow
    const i64 room = step > 0 ? n - 1 - begin : begin;
    return begin >= 0 && begin < n && (count == 1 || (step >= -n && step <= n && count - 1 <= room / std::abs(step)));
  };
  if (step == 0 || (count > 0 && !fits()))
    throw IndexError(fmt::format("place: positions must be in [0, {}); got begin = {}, step = {} for axis {} of x {}",
                                 n, begin, step, axis_any, to_string(x.shape())));
  if (is_int(x.dtype())) check_whole("place", fill, x);
  if (count <= 1) step = 1;
  Tensor y = full(shape, fill, x.dtype(), x.device());
  const Tensor part = part_of(y, axis, {begin, count, step});
  const Nest<2> nest = nest_over<2>(x.shape(), {&x, &part});
  with_any(x.dtype(),
           [&]<class T>() { MOEGRAD_LAUNCH(x.device(), map1, formula::Same{}, x.data<T>(), part.data<T>(), nest); });
  return record(
      "place", y, {x}, saves(kNone),
      [axis, begin, count, step](const GradArgs& g) -> Grads {
        return {slice_positions(g.dy, axis, {begin, count, step})};
      },
      [axis, n, begin, step] { return fmt::format("axis = {}, n = {}, begin = {}, step = {}", axis, n, begin, step); });
}

Tensor segment(const Tensor& x, int axis_any, i64 begin, i64 count) {
  const int axis = check_axis("segment", x.shape(), axis_any);
  const i64 n = x.shape()[axis], first = begin < 0 ? begin + n : begin;
  if (count < 0)
    throw ShapeError(fmt::format("segment: count must be >= 0; got {} for x {}", count, to_string(x.shape())));
  if (first < 0 || first > n || count > n - first)
    throw IndexError(fmt::format("segment: positions must be in [0, {}); got {} from {} on for axis {} of x {}", n,
                                 count, begin, axis_any, to_string(x.shape())));
  return slice_positions(x, axis, {first, count, 1});
}

Tensor flip(const Tensor& x, const Axes& axes) {
  Tensor y = x;
  for (int axis : check_axes("flip", x.shape(), axes)) y = flip(y, axis);
  return y;
}
Tensor flip(const Tensor& x, int axis) { return slice(x, check_axis("flip", x.shape(), axis), {-1, kEnd, -1}); }

// ---- indexing by brackets: members of Tensor

Tensor Tensor::operator[](i64 i) const { return select(*this, 0, i); }

Tensor Tensor::index(std::initializer_list<Index> entries) const {
  using Kind = Index::Kind;
  int named = 0, ellipses = 0;
  for (const Index& e : entries)
    named += e.kind == Kind::position || e.kind == Kind::range, ellipses += e.kind == Kind::ellipsis;
  if (named > rank() || ellipses > 1)
    throw ShapeError(fmt::format("index: at most one entry per axis and one kEllipsis; got {} and {} for x {}", named,
                                 ellipses, to_string(shape())));
  Tensor y = *this;
  int axis = 0;
  for (const Index& e : entries) {
    switch (e.kind) {
      case Kind::position: y = select(y, axis, e.at); break;
      case Kind::range: y = slice(y, axis++, e.range); break;
      case Kind::new_axis: y = unsqueeze(y, axis++); break;
      case Kind::ellipsis: axis += rank() - named; break;
    }
  }
  return y;
}

}  // namespace moegrad
