#include "ops/cast.h"

#include "core/autograd.h"
#include "core/structure.h"
#include "ops/loops.h"

namespace moegrad {
namespace {

// To bf16 the loop rounds, when it stores the value.
template <class To> struct Convert {
  template <class From> MOEGRAD_HD auto operator()(From v) const {
    if constexpr (std::is_same_v<To, bf16>)
      return v;
    else
      return convert<To>(v);
  }
};

Tensor copy_as(const Tensor& x, DType dtype) {
  Tensor y = empty(x.shape(), dtype, x.device());
  const Nest<2> nest = nest_over<2>(x.shape(), {&x, &y});
  with_any(x.dtype(), [&]<class From>() {
    with_any(dtype, [&]<class To>() {
      using Op = std::conditional_t<std::is_same_v<From, To>, formula::Same, Convert<To>>;
      MOEGRAD_LAUNCH(x.device(), map1, Op{}, x.data<From>(), y.data<To>(), nest);
    });
  });
  return y;
}

}  // namespace

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  if (const Structure* s = structure_of(x))
    if (Tensor y = s->cast(dtype)) return y;
  const Tensor y = copy_as(x, dtype);
  if (!is_float(dtype) || !is_float(x.dtype())) return y;
  return record("cast", y, {x}, saves(kNone), [](const GradArgs& g) -> Grads { return {cast(g.dy, g.dtype(0))}; });
}

Tensor widen(const Tensor& x) { return x && x.dtype() == DType::bf16 ? cast(x, DType::f32) : x; }
Tensor narrow(const Tensor& y) { return cast(y, DType::bf16); }

Tensor contiguous(const Tensor& x) {
  if (x.is_contiguous()) return dense(x);
  return record("contiguous", copy_as(x, x.dtype()), {x}, saves(kNone),
                [](const GradArgs& g) -> Grads { return {g.dy}; });
}

}  // namespace moegrad
