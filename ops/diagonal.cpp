#include "ops/diagonal.h"

#include <fmt/format.h>

#include <cstdlib>
#include <limits>

#include "core/autograd.h"
#include "ops/loops.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// Which diagonal of which axes a < b.
struct Line {
  int a, b;
  i64 offset;
};

// The diagonal of x as a view, outside the graph.
Tensor line_view(const Tensor& x, const Line& l) {
  const i64 m = x.shape()[l.a], n = x.shape()[l.b];
  const i64 row = -std::clamp<i64>(l.offset, -m, 0), column = std::clamp<i64>(l.offset, 0, n);
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[l.a] = std::min(m - row, n - column);
  const i64 offset = shape[l.a] > 0 ? row * strides[l.a] + column * strides[l.b] : 0;
  strides[l.a] += strides[l.b];
  shape.erase(l.b);
  strides.erase(l.b);
  return view_of(x, shape, strides, x.body().offset + offset);
}

Tensor diagonal_of(const Tensor& x, const Line& l);

// x on the diagonal of a tensor of zeros, whose axes a and b have the sizes m and n.
Tensor placed(const Tensor& x, const Line& l, i64 m, i64 n) {
  Shape shape = x.shape();
  shape[l.a] = m;
  shape.insert(l.b, n);
  check_sizes("place_diagonal", shape);
  const Tensor y = zeros(shape, x.dtype(), x.device());
  const Tensor part = line_view(y, l);
  const Nest<2> nest = nest_over<2>(x.shape(), {&x, &part});
  with_any(x.dtype(),
           [&]<class T>() { MOEGRAD_LAUNCH(x.device(), map1, formula::Same{}, x.data<T>(), part.data<T>(), nest); });
  return record(
      "place_diagonal", y, {x}, saves(kNone), [l](const GradArgs& g) -> Grads { return {diagonal_of(g.dy, l)}; },
      [l] { return fmt::format("axes = {}, {}, offset = {}", l.a, l.b, l.offset); });
}

Tensor diagonal_of(const Tensor& x, const Line& l) {
  return record(
      "diagonal", line_view(x, l), {x}, saves(kNone),
      [l, m = x.shape()[l.a], n = x.shape()[l.b]](const GradArgs& g) -> Grads { return {placed(g.dy, l, m, n)}; },
      [l] { return fmt::format("axes = {}, {}, offset = {}", l.a, l.b, l.offset); });
}

// The size of a square with k positions on the diagonal.
i64 square_around(const char* op, i64 k, i64 offset) {
  constexpr i64 kMost = i64{1} << 61;
  if (offset < -kMost || offset > kMost)
    throw ShapeError(fmt::format("{}: the offset must be in [-2^61, 2^61]; got {}", op, offset));
  return k + std::abs(offset);
}

// Axes a and b in order: what is above the diagonal of one order is below that of the other.
Line in_order(int a, int b, i64 offset) {
  if (a < b) return {a, b, offset};
  return {b, a, -std::max(offset, -std::numeric_limits<i64>::max())};
}

}  // namespace

Tensor diagonal(const Tensor& x, int a_any, int b_any, i64 offset) {
  const int a = check_axis("diagonal", x.shape(), a_any), b = check_axis("diagonal", x.shape(), b_any);
  if (a == b)
    throw ShapeError(
        fmt::format("diagonal: two axes are needed; got axes {} and {} of x {}", a_any, b_any, to_string(x.shape())));
  return diagonal_of(x, in_order(a, b, offset));
}

Tensor place_diagonal(const Tensor& x, int a, int b, i64 offset) {
  check_axis("place_diagonal", x.shape(), a);
  if (a < 0 || b <= a || b > x.rank())
    throw ShapeError(fmt::format("place_diagonal: 0 <= a < b <= rank is needed; got a = {}, b = {} for x {}", a, b,
                                 to_string(x.shape())));
  const i64 n = square_around("place_diagonal", x.shape()[a], offset);
  return placed(x, {a, b, offset}, n, n);
}

Tensor diag_embed(const Tensor& x, i64 offset, int a_any, int b_any) {
  const int rank = x.rank() + 1;
  const auto wrap = [rank](int axis) { return axis < 0 ? axis + rank : axis; };
  const int a = wrap(a_any), b = wrap(b_any);
  if (x.rank() == 0 || std::min(a, b) < 0 || std::max(a, b) >= rank || a == b)
    throw ShapeError(fmt::format("diag_embed: two axes in [{}, {}) are needed; got {} and {} for x {}", -rank, rank,
                                 a_any, b_any, to_string(x.shape())));
  const i64 n = square_around("diag_embed", x.dim(-1), offset);
  const Line l = in_order(a, b, offset);
  return placed(move_axis(x, -1, l.a), l, n, n);
}

}  // namespace moegrad
