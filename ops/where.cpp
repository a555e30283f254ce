#include "ops/where.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/compare.h"
#include "ops/loops.h"

namespace moegrad {
namespace {

void check_mask(const char* op, const char* what, const Tensor& mask) {
  if (mask.dtype() != DType::boolean)
    throw DTypeError(fmt::format("{}: {} must be bool; got {}", op, what, describe(mask)));
}

// The broadcast shape, with errors that name the operands.
Shape common_shape(const Tensor& cond, const Tensor& a, const Tensor& b) {
  try {
    return broadcast("where", broadcast("where", cond.shape(), a.shape()), b.shape());
  } catch (const ShapeError&) {
    throw ShapeError(fmt::format("where: sizes must match or be 1, from the last axis on; got cond {}, a {} and b {}",
                                 to_string(cond.shape()), to_string(a.shape()), to_string(b.shape())));
  }
}
Shape common_shape(const Tensor& x, const Tensor& mask) {
  try {
    return broadcast("masked_fill", x.shape(), mask.shape());
  } catch (const ShapeError&) {
    throw ShapeError(fmt::format("masked_fill: sizes must match or be 1, from the last axis on; got x {} and mask {}",
                                 to_string(x.shape()), to_string(mask.shape())));
  }
}

// x where not mask, else 0
Tensor zero_where(const Tensor& x, const Tensor& mask) { return masked_fill(x, mask, 0); }

}  // namespace

Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b) {
  check_mask("where", "cond", cond);
  check_same_device("where", cond, a), check_same_device("where", a, b);
  check_same_dtype("where", a, b);
  Tensor y = empty(common_shape(cond, a, b), a.dtype(), a.device());
  const Nest<4> nest = nest_over<4>(y.shape(), {&cond, &a, &b, &y});
  with_any(a.dtype(), [&]<class T>() {
    MOEGRAD_LAUNCH(y.device(), map3, formula::Where{}, cond.data<bool>(), a.data<T>(), b.data<T>(), y.data<T>(), nest);
  });
  return record("where", y, {cond, a, b}, saves(kX0), [](const GradArgs& g) -> Grads {
    const Tensor taken = g.in(0);
    return {Tensor{}, g.needs(1) ? zero_where(g.dy, logical_not(taken)) : Tensor{},
            g.needs(2) ? zero_where(g.dy, taken) : Tensor{}};
  });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  check_mask("masked_fill", "mask", mask);
  check_same_device("masked_fill", x, mask);
  if (is_int(x.dtype())) check_whole("masked_fill", value, x);
  Tensor y = empty(common_shape(x, mask), x.dtype(), x.device());
  const Nest<3> nest = nest_over<3>(y.shape(), {&x, &mask, &y});
  with_any(x.dtype(), [&]<class T>() {
    const formula::FillWhere<Computed<T>> fill{static_cast<Computed<T>>(value)};
    MOEGRAD_LAUNCH(y.device(), map2, fill, x.data<T>(), mask.data<bool>(), y.data<T>(), nest);
  });
  return record(
      "masked_fill", y, {x, mask}, saves(kX1),
      [](const GradArgs& g) -> Grads {
        return {zero_where(g.dy, g.in(1)), Tensor{}};
      },
      [value] { return fmt::format("value = {}", value); });
}

}  // namespace moegrad
