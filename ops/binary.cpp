#include "ops/binary.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/compare.h"
#include "ops/loops.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/where.h"

namespace moegrad {
namespace {

void check(const char* op, const Tensor& a, const Tensor& b) {
  check_same_device(op, a, b);
  check_same_dtype(op, a, b);
  if (!is_float(a.dtype())) throw_dtype(op, kFloats, a.dtype());
}
void check(const char* op, const Tensor& a, const Tensor& b, const Tensor& c) {
  check(op, a, b), check(op, a, c);
  broadcast(op, broadcast(op, a.shape(), b.shape()), c.shape());
}

template <class Op, class T> Tensor apply(const char* name, const Tensor& a, const Tensor& b) {
  const Tensor y = empty(broadcast(name, a.shape(), b.shape()), a.dtype(), a.device());
  MOEGRAD_LAUNCH(a.device(), map2, Op{}, a.data<T>(), b.data<T>(), y.data<T>(), nest_over<3>(y.shape(), {&a, &b, &y}));
  return y;
}
template <class Op> Tensor apply_float(const char* name, const Tensor& a, const Tensor& b) {
  check(name, a, b);
  return with_float(name, a.dtype(), [&]<class T>() { return apply<Op, T>(name, a, b); });
}

// Quotients of whole numbers, too. Where values can be read without a synchronisation, 0 is refused.
template <class Op> Tensor apply_number(const char* name, const Tensor& a, const Tensor& b) {
  check_same_device(name, a, b);
  check_same_dtype(name, a, b);
  return with_number(name, a.dtype(), [&]<class T>() {
    broadcast(name, a.shape(), b.shape());
    if (is_int(b.dtype()) && b.device() == Device::cpu && any(eq(b, scalar_like(0, b))).item() != 0)
      throw Error(fmt::format("{}: an integer cannot be divided by 0; got b {} with a 0 in it", name, describe(b)));
    return apply<Op, T>(name, a, b);
  });
}

}  // namespace

Tensor atan2(const Tensor& y, const Tensor& x) {
  return record("atan2", apply_float<formula::Atan2>("atan2", y, x), {y, x}, saves(kX0 | kX1),
                [](const GradArgs& g) -> Grads {
                  // x / (x^2 + y^2) = u / (u^2 + v^2) / s for u = x / s, v = y / s and any s: it has no gradient
                  const Tensor s_any = maximum(abs(g.in(0)), abs(g.in(1))).detach();
                  const Tensor none = logical_or(eq(s_any, scalar_like(0, s_any)), logical_not(isfinite(s_any)));
                  const Tensor s = masked_fill(s_any, none, 1);
                  const Tensor v = g.in(0) / s, u = g.in(1) / s, r = square(u) + square(v);
                  const Tensor d = g.dy / s / (r + eq(r, scalar_like(0, r)));  // the numerators at the origin are 0
                  return {d * u, neg(d * v)};
                });
}

Tensor floor_divide(const Tensor& a, const Tensor& b) {
  return apply_number<formula::FloorDivide>("floor_divide", a, b);
}
Tensor remainder(const Tensor& a, const Tensor& b) {
  return record("remainder", apply_number<formula::Remainder>("remainder", a, b), {a, b}, saves(kX0 | kX1),
                [](const GradArgs& g) -> Grads {
                  return {g.dy, g.needs(1) ? neg(g.dy * floor_divide(g.in(0), g.in(1))) : Tensor{}};
                });
}

Tensor logaddexp(const Tensor& a, const Tensor& b) {
  return record("logaddexp", apply_float<formula::LogAddExp>("logaddexp", a, b), {a, b}, saves(kX0 | kX1),
                [](const GradArgs& g) -> Grads {
                  const Tensor p = g.in(0), q = g.in(1);
                  const Tensor same_infinity = logical_and(eq(p, q), logical_not(isfinite(p)));
                  const Tensor ahead = masked_fill(p - q, same_infinity, 0);
                  return {g.dy * sigmoid(ahead), g.needs(1) ? g.dy * sigmoid(neg(ahead)) : Tensor{}};
                });
}

// From the nearer end, so that rounding leaves the ends as they are.
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& w) {
  check("lerp", a, b, w);
  const Tensor difference = b - a, near_a = lt(abs(w), scalar_like(0.5, w));
  return where(near_a, a + w * difference, b - (1.0 - w) * difference);
}
Tensor lerp(const Tensor& a, const Tensor& b, double w) {
  check("lerp", a, b);
  return lerp(a, b, scalar_like(w, a));
}

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double value) {
  check("addcmul", x, a, b);
  return x + a * b * value;
}

}  // namespace moegrad
