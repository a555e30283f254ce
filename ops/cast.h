// Copies: to another dtype, to row-major order.
#pragma once
#include "core/dtype.h"
#include "core/tensor.h"

namespace moegrad {

/// y = x as `dtype`. To bf16 the nearest, of two equally near ones the even one. Float to integer cuts towards zero,
/// gives the nearest integer that there is for a value out of range, and 0 for NaN; i64 to i32 wraps around; anything
/// to bool asks whether it is not 0.
///   Shapes    x [..] -> y, same shape; x itself where it has the dtype already
///   Dtypes    every dtype to every dtype
///   Gradient  dx = cast(dy) between floating dtypes; none otherwise
Tensor cast(const Tensor& x, DType dtype);

/// x in row-major order: x itself where it is that already.
///   Gradient  dx = dy
Tensor contiguous(const Tensor& x);

/// How an op whose kernels compute in the type that they store takes bf16, once its arguments are checked:
///   if (x.dtype() == DType::bf16) return narrow(op(widen(x)));
/// It computes in f32, and its value is rounded once. Both are casts, and so are their gradients: the gradient is
/// computed in f32, too, and rounded once.
Tensor widen(const Tensor& x);   ///< bf16 as f32; anything else, also an empty handle, as it is
Tensor narrow(const Tensor& y);  ///< f32 as bf16

namespace formula {
// To bf16 the loop rounds, when it stores the value.
template <class To> struct Convert {
  template <class From> MOEGRAD_HD auto operator()(From v) const {
    if constexpr (std::is_same_v<To, bf16>)
      return v;
    else
      return convert<To>(v);
  }
};
}  // namespace formula

}  // namespace moegrad
