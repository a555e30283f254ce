#include "ops/cast.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/structure.h"
#include "ops/loops.h"

namespace moegrad {
namespace {

Tensor copy_as(const Tensor& x, DType dtype) {
  Tensor y = empty(x.shape(), dtype, x.device());
  const Nest<2> nest = nest_over<2>(x.shape(), {&x, &y});
  with_any(x.dtype(), [&]<class From>() {
    with_any(dtype, [&]<class To>() {
      using Op = std::conditional_t<std::is_same_v<From, To>, formula::Same, formula::Convert<To>>;
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

Tensor Tensor::to(Device wanted) const {
  if (device() == wanted) return *this;
  check_device("to", wanted);
  if (const Structure* s = structure_of(*this))
    if (Tensor y = s->to(wanted)) return y;
  const Tensor from = moegrad::contiguous(*this);
  Tensor y = empty(shape(), dtype(), wanted);
  if constexpr (kWithCuda) {
    const i64 bytes = size() * byte_size(dtype());
    const std::byte* data = from.bytes() + from.body().offset * byte_size(dtype());
    if (wanted == Device::cuda)
      cuda::copy_to_device(y.bytes(), data, bytes);
    else
      cuda::copy_to_host(y.bytes(), data, bytes);
  }
  if (!is_float(dtype())) return y;
  const Device back = device();
  return record("to", y, {*this}, saves(kNone), [back](const GradArgs& g) -> Grads { return {g.dy.to(back)}; });
}

Tensor contiguous(const Tensor& x) {
  if (x.is_contiguous()) return dense(x);
  return record("contiguous", copy_as(x, x.dtype()), {x}, saves(kNone),
                [](const GradArgs& g) -> Grads { return {g.dy}; });
}

}  // namespace moegrad
