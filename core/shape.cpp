#include "core/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/errors.h"

namespace moegrad {

void throw_rank_too_large(i64 rank) {
  throw ShapeError(fmt::format("shape: rank must be at most {}; got {}", kMaxRank, rank));
}

Strides row_major(const Shape& shape) {
  Strides strides(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<i64>(shape[i + 1], 1);
  return strides;
}

bool is_row_major(const Shape& shape, const Strides& strides) {
  if (shape.contains(0)) return true;
  i64 expected = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

Shape broadcast(const char* op, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape y = longer;
  const int extra = longer.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    const i64 p = longer[i + extra], q = shorter[i];
    if (p != q && p != 1 && q != 1)
      throw ShapeError(fmt::format("{}: sizes must match or be 1, from the last axis on; got a {} and b {} ({} != {})",
                                   op, to_string(a), to_string(b), a.rank() >= b.rank() ? p : q,
                                   a.rank() >= b.rank() ? q : p));
    y[i + extra] = p == 1 ? q : p;
  }
  return y;
}

bool broadcasts_to(const Shape& shape, const Shape& to) {
  const int extra = to.rank() - shape.rank();
  if (extra < 0) return false;
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] != 1 && shape[i] != to[i + extra]) return false;
  return true;
}

Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& to) {
  Strides y(to.rank(), 0);
  const int extra = to.rank() - shape.rank();
  for (int i = 0; i < shape.rank(); ++i) y[i + extra] = shape[i] == 1 ? 0 : strides[i];
  return y;
}

AxisBlocks blocks_around(const Shape& shape, int axis) {
  AxisBlocks b{.count = shape[axis]};
  for (int i = 0; i < axis; ++i) b.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) b.inner *= shape[i];
  return b;
}

void throw_axis(const char* op, const Shape& shape, int axis) {
  throw ShapeError(fmt::format("{}: axis must be in [{}, {}); got {} for x {}", op, -shape.rank(), shape.rank(), axis,
                               to_string(shape)));
}

Axes check_axes(const char* op, const Shape& shape, const Axes& axes) {
  Axes y;
  for (int axis : axes) {
    const int a = check_axis(op, shape, axis);
    if (y.contains(a))
      throw ShapeError(
          fmt::format("{}: an axis must be named once; got {} for x {}", op, to_string(axes), to_string(shape)));
    y.push_back(a);
  }
  std::sort(y.begin(), y.end());
  return y;
}

Axes all_axes(const Shape& shape) {
  Axes y;
  for (int i = 0; i < shape.rank(); ++i) y.push_back(i);
  return y;
}

void check_sizes(const char* op, const Shape& shape) {
  constexpr i64 kMost = i64{1} << 62;
  i64 n = 1;
  for (i64 d : shape) {
    if (d < 0) throw ShapeError(fmt::format("{}: sizes must not be negative; got shape {}", op, to_string(shape)));
    if (d > 0 && n > kMost / d)
      throw ShapeError(fmt::format("{}: a tensor holds at most 2^62 elements; got shape {}", op, to_string(shape)));
    n *= std::max<i64>(d, 1);
  }
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

std::string to_string(const Axes& axes) { return fmt::format("[{}]", fmt::join(axes.begin(), axes.end(), ", ")); }

}  // namespace moegrad
