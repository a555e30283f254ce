#include "ops/unary.h"

#include <fmt/format.h>

#include <numbers>

#include "core/autograd.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/loops.h"

namespace moegrad {
namespace {

template <class Op, class T> Tensor apply(Op op, const Tensor& x) {
  Tensor y = empty(x.shape(), x.dtype(), x.device());
  MOEGRAD_LAUNCH(x.device(), map1, op, x.data<T>(), y.data<T>(), nest_over<2>(y.shape(), {&x, &y}));
  return y;
}
template <class Op> Tensor apply_float(const char* name, const Tensor& x) {
  return with_float(name, x.dtype(), [&]<class T>() { return apply<Op, T>(Op{}, x); });
}
// Float and integer formulas differ where one must not overflow and the other must keep the sign of zero.
template <class Float, class Integer> Tensor apply_number(const char* name, const Tensor& x) {
  return with_number(name, x.dtype(),
                     [&]<class T>() { return apply<std::conditional_t<kIsFloat<T>, Float, Integer>, T>({}, x); });
}

}  // namespace

Tensor neg(const Tensor& x) {
  return record("neg", apply_number<formula::NegFloat, formula::Neg>("neg", x), {x}, saves(kNone),
                [](const GradArgs& g) -> Grads { return {neg(g.dy)}; });
}
Tensor abs(const Tensor& x) {
  return record("abs", apply_number<formula::AbsFloat, formula::Abs>("abs", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {g.dy * sign(g.in(0))}; });
}
Tensor sign(const Tensor& x) { return apply_number<formula::Sign, formula::Sign>("sign", x); }
Tensor square(const Tensor& x) {
  return record("square", apply_number<formula::Square, formula::Square>("square", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {g.dy * g.in(0) * 2.0}; });
}

Tensor exp(const Tensor& x) {
  return record("exp", apply_float<formula::Exp>("exp", x), {x}, saves(kY),
                [](const GradArgs& g) -> Grads { return {g.dy * g.y()}; });
}
Tensor expm1(const Tensor& x) {
  return record("expm1", apply_float<formula::Expm1>("expm1", x), {x}, saves(kY),
                [](const GradArgs& g) -> Grads { return {g.dy * (g.y() + 1.0)}; });
}
Tensor log(const Tensor& x) {
  return record("log", apply_float<formula::Log>("log", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {g.dy / g.in(0)}; });
}
Tensor log1p(const Tensor& x) {
  return record("log1p", apply_float<formula::Log1p>("log1p", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {g.dy / (g.in(0) + 1.0)}; });
}
Tensor sqrt(const Tensor& x) {
  return record("sqrt", apply_float<formula::Sqrt>("sqrt", x), {x}, saves(kY),
                [](const GradArgs& g) -> Grads { return {g.dy / (g.y() * 2.0)}; });
}
Tensor rsqrt(const Tensor& x) {
  return record("rsqrt", apply_float<formula::Rsqrt>("rsqrt", x), {x}, saves(kY), [](const GradArgs& g) -> Grads {
    const Tensor y = g.y();
    return {g.dy * (y * square(y)) * -0.5};
  });
}
Tensor reciprocal(const Tensor& x) {
  return record("reciprocal", apply_float<formula::Reciprocal>("reciprocal", x), {x}, saves(kY),
                [](const GradArgs& g) -> Grads { return {neg(g.dy * square(g.y()))}; });
}

Tensor sin(const Tensor& x) {
  return record("sin", apply_float<formula::Sin>("sin", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {g.dy * cos(g.in(0))}; });
}
Tensor cos(const Tensor& x) {
  return record("cos", apply_float<formula::Cos>("cos", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {neg(g.dy * sin(g.in(0)))}; });
}
Tensor tanh(const Tensor& x) {
  return record("tanh", apply_float<formula::Tanh>("tanh", x), {x}, saves(kY),
                [](const GradArgs& g) -> Grads { return {g.dy * (1.0 - square(g.y()))}; });
}
Tensor erf(const Tensor& x) {
  return record("erf", apply_float<formula::Erf>("erf", x), {x}, saves(kX0), [](const GradArgs& g) -> Grads {
    return {g.dy * exp(neg(square(g.in(0)))) * (2 * std::numbers::inv_sqrtpi)};
  });
}
Tensor sigmoid(const Tensor& x) {
  return record("sigmoid", apply_float<formula::Sigmoid>("sigmoid", x), {x}, saves(kY), [](const GradArgs& g) -> Grads {
    const Tensor y = g.y();
    return {g.dy * (y * (1.0 - y))};
  });
}

Tensor erfc(const Tensor& x) {
  return record("erfc", apply_float<formula::Erfc>("erfc", x), {x}, saves(kX0), [](const GradArgs& g) -> Grads {
    return {g.dy * exp(neg(square(g.in(0)))) * (-2 * std::numbers::inv_sqrtpi)};
  });
}
Tensor normal_cdf(const Tensor& x) {
  return record("normal_cdf", apply_float<formula::NormalCdf>("normal_cdf", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads {
                  constexpr double density_at_0 = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
                  return {g.dy * exp(square(g.in(0)) * -0.5) * density_at_0};
                });
}
Tensor entr(const Tensor& x) {
  return record("entr", apply_float<formula::Entr>("entr", x), {x}, saves(kX0),
                [](const GradArgs& g) -> Grads { return {g.dy * (-1.0 - log(g.in(0)))}; });
}

Tensor floor(const Tensor& x) { return apply_float<formula::Floor>("floor", x); }
Tensor ceil(const Tensor& x) { return apply_float<formula::Ceil>("ceil", x); }
Tensor round(const Tensor& x) { return apply_float<formula::Round>("round", x); }

Tensor pow(const Tensor& x, double c) {
  const Tensor y = with_float("pow", x.dtype(), [&]<class T>() {
    return apply<formula::PowBy<Computed<T>>, T>({static_cast<Computed<T>>(c)}, x);
  });
  return record(
      "pow", y, {x}, saves(kX0),
      [c](const GradArgs& g) -> Grads { return {c == 0 ? Tensor{} : g.dy * pow(g.in(0), c - 1) * c}; },
      [c] { return fmt::format("exponent = {}", c); });
}

Tensor pow(double c, const Tensor& x) {
  if (!is_float(x.dtype())) throw_dtype("pow", kFloats, x.dtype());
  return pow(scalar_like(c, x), x);
}

Tensor clamp(const Tensor& x, double low, double high) {
  if (!(low <= high)) throw Error(fmt::format("clamp: low must be <= high; got low = {} and high = {}", low, high));
  if (is_int(x.dtype()))
    for (const double bound : {low, high})
      if (std::isfinite(bound)) check_whole("clamp", bound, x);
  const Tensor y = with_number("clamp", x.dtype(), [&]<class T>() {
    using C = Computed<T>;
    return apply<formula::Clamp<C>, T>({convert<C>(low), convert<C>(high)}, x);
  });
  return record(
      "clamp", y, {x}, saves(kX0),
      [low, high](const GradArgs& g) -> Grads {
        const Tensor x0 = g.in(0);
        return {g.dy * logical_and(ge(x0, scalar_like(low, x0)), le(x0, scalar_like(high, x0)))};
      },
      [low, high] { return fmt::format("low = {}, high = {}", low, high); });
}

}  // namespace moegrad
