#include "ops/diagonal.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/loops.h"

namespace moegrad {
namespace {

// The diagonal of axes a < b of x, outside the graph.
Tensor diagonal_view(const Tensor& x, int a, int b) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  strides[a] += strides[b];
  shape.erase(b);
  strides.erase(b);
  return view_of(x, shape, strides, x.body().offset);
}

}  // namespace

Tensor diagonal(const Tensor& x, int a_any, int b_any) {
  int a = check_axis("diagonal", x.shape(), a_any), b = check_axis("diagonal", x.shape(), b_any);
  if (a > b) std::swap(a, b);
  if (a == b || x.shape()[a] != x.shape()[b])
    throw ShapeError(fmt::format("diagonal: two axes of one size are needed; got axes {} and {} of x {}", a_any, b_any,
                                 to_string(x.shape())));
  return record(
      "diagonal", diagonal_view(x, a, b), {x}, saves(kNone),
      [a, b](const GradArgs& g) -> Grads { return {place_diagonal(g.dy, a, b)}; },
      [a, b] { return fmt::format("axes = {}, {}", a, b); });
}

Tensor place_diagonal(const Tensor& x, int a, int b) {
  check_axis("place_diagonal", x.shape(), a);
  if (a < 0 || b <= a || b > x.rank())
    throw ShapeError(fmt::format("place_diagonal: 0 <= a < b <= rank is needed; got a = {}, b = {} for x {}", a, b,
                                 to_string(x.shape())));
  Shape shape = x.shape();
  shape.insert(b, x.shape()[a]);
  Tensor y = zeros(shape, x.dtype(), x.device());
  const Tensor part = diagonal_view(y, a, b);
  const Nest<2> nest = nest_over<2>(x.shape(), {&x, &part});
  with_any(x.dtype(),
           [&]<class T>() { MOEGRAD_LAUNCH(x.device(), map1, formula::Same{}, x.data<T>(), part.data<T>(), nest); });
  return record("place_diagonal", y, {x}, saves(kNone),
                [a, b](const GradArgs& g) -> Grads { return {diagonal(g.dy, a, b)}; });
}

}  // namespace moegrad
