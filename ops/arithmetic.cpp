#include "ops/arithmetic.h"

#include <fmt/format.h>

#include "core/structure.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/loops.h"
#include "ops/unary.h"

namespace moegrad {
namespace {

struct Pair {
  Tensor a, b;
};

// One dtype for both: a bool operand becomes the other's. Floating dtypes never mix silently.
Pair adopt(const char* op, const Tensor& a, const Tensor& b) {
  check_same_device(op, a, b);
  const bool first = a.dtype() == DType::boolean, second = b.dtype() == DType::boolean;
  if (first && second)
    throw DTypeError(fmt::format("{}: one operand must be a number; got {} and {}", op, describe(a), describe(b)));
  if (first) return {cast(a, b.dtype()), b};
  if (second) return {a, cast(b, a.dtype())};
  check_same_dtype(op, a, b);
  return {a, b};
}

template <class Op, class T> Tensor apply(const char* op, const Tensor& a, const Tensor& b) {
  Tensor y = empty(broadcast(op, a.shape(), b.shape()), a.dtype(), a.device());
  MOEGRAD_LAUNCH(a.device(), map2, Op{}, a.data<T>(), b.data<T>(), y.data<T>(), nest_over<3>(y.shape(), {&a, &b, &y}));
  return y;
}
template <class Op> Tensor apply_number(const char* op, const Tensor& a, const Tensor& b) {
  return with_number(op, a.dtype(), [&]<class T>() { return apply<Op, T>(op, a, b); });
}
template <class Op> Tensor apply_float(const char* op, const Tensor& a, const Tensor& b) {
  return with_float(op, a.dtype(), [&]<class T>() { return apply<Op, T>(op, a, b); });
}

// 1 where x won against `other`, 1/2 at a tie, 0 elsewhere.
Tensor share(const Tensor& wins, const Tensor& ties, DType dtype) {
  return cast(wins, dtype) + 0.5 * cast(ties, dtype);
}

}  // namespace

void check_whole(const char* op, double value, const Tensor& x) {
  const double most = x.dtype() == DType::i32 ? 0x1p31 : 0x1p63;
  if (!(value == std::trunc(value) && value >= -most && value < most))
    throw DTypeError(fmt::format("{}: a number beside {} must be whole and in its range; got {} and {}", op,
                                 name(x.dtype()), value, describe(x)));
}

Tensor scalar_like(double value, const Tensor& x) {
  if (x.dtype() == DType::boolean)
    throw DTypeError(fmt::format("arithmetic: a number needs a number beside it; got {}", describe(x)));
  if (is_int(x.dtype())) check_whole("arithmetic", value, x);
  return scalar(value, x.dtype(), x.device());
}

Tensor add(const Tensor& a_any, const Tensor& b_any) {
  const auto [a, b] = adopt("add", a_any, b_any);
  return record("add", apply_number<formula::Add>("add", a, b), {a, b}, saves(kNone), [](const GradArgs& g) -> Grads {
    return {g.dy, g.dy};
  });
}

Tensor sub(const Tensor& a_any, const Tensor& b_any) {
  const auto [a, b] = adopt("sub", a_any, b_any);
  return record("sub", apply_number<formula::Sub>("sub", a, b), {a, b}, saves(kNone), [](const GradArgs& g) -> Grads {
    return {g.dy, g.needs(1) ? neg(g.dy) : Tensor{}};
  });
}

Tensor mul(const Tensor& a_any, const Tensor& b_any) {
  const Structure *first = structure_of(a_any), *second = structure_of(b_any);
  if (first && !second)
    if (Tensor y = first->mul(b_any)) return y;
  if (second && !first)
    if (Tensor y = second->mul(a_any)) return y;
  const auto [a, b] = adopt("mul", a_any, b_any);
  return record("mul", apply_number<formula::Mul>("mul", a, b), {a, b}, saves_crossed(a, b),
                [](const GradArgs& g) -> Grads {
                  return {g.needs(0) ? g.dy * g.in(1) : Tensor{}, g.needs(1) ? g.dy * g.in(0) : Tensor{}};
                });
}

Tensor div(const Tensor& a_any, const Tensor& b_any) {
  const auto [a, b] = adopt("div", a_any, b_any);
  return record("div", apply_float<formula::Div>("div", a, b), {a, b}, saves(kX1 | kY), [](const GradArgs& g) -> Grads {
    const Tensor da = g.dy / g.in(1);
    return {da, g.needs(1) ? neg(da * g.y()) : Tensor{}};
  });
}

Tensor pow(const Tensor& a_any, const Tensor& b_any) {
  const auto [a, b] = adopt("pow", a_any, b_any);
  return record("pow", apply_float<formula::Pow>("pow", a, b), {a, b}, saves(kX0 | kX1 | kY),
                [](const GradArgs& g) -> Grads {
                  const Tensor x = g.in(0), p = g.in(1);
                  Tensor da, db;
                  const Tensor at_zero = eq(x, scalar_like(0, x));
                  if (g.needs(0)) {
                    const Tensor constant = logical_and(at_zero, eq(p, scalar_like(0, p)));  // a^0 at 0: 0 * 0^0 = 0
                    da = g.dy * p * pow(x, p - 1.0 + constant);
                  }
                  if (g.needs(1)) {  // log(0 + 1) = 0
                    const Tensor vanishing = logical_and(at_zero, ge(p, scalar_like(0, p)));
                    db = g.dy * g.y() * log(x + vanishing);
                  }
                  return {da, db};
                });
}

namespace {
// To the operand that was taken; half to each at a tie.
template <bool kLarger> Grads extremum_gradient(const GradArgs& g) {
  const Tensor p = g.in(0), q = g.in(1), ties = eq(p, q);
  const auto of = [&](int i, const Tensor& wins) {
    return g.needs(i) ? g.dy * share(wins, ties, p.dtype()) : Tensor{};
  };
  return {of(0, kLarger ? gt(p, q) : lt(p, q)), of(1, kLarger ? lt(p, q) : gt(p, q))};
}
}  // namespace

Tensor maximum(const Tensor& a_any, const Tensor& b_any) {
  const auto [a, b] = adopt("maximum", a_any, b_any);
  return record("maximum", apply_number<formula::Maximum>("maximum", a, b), {a, b}, saves(kX0 | kX1),
                extremum_gradient<true>);
}

Tensor minimum(const Tensor& a_any, const Tensor& b_any) {
  const auto [a, b] = adopt("minimum", a_any, b_any);
  return record("minimum", apply_number<formula::Minimum>("minimum", a, b), {a, b}, saves(kX0 | kX1),
                extremum_gradient<false>);
}

}  // namespace moegrad
