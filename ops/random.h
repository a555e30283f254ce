// Tensors of random numbers. Each element is a function of (seed, draw, step, its position), so the same draw gives the
// same numbers for any number of threads.
#pragma once
#include "core/random.h"
#include "core/tensor.h"

namespace moegrad {

/// y = low + (high - low) u, with u uniform on [0, 1).
///   Shapes    `shape`, in row-major order: element i is number i of the draw
///   Dtypes    f32, f64; bf16: the numbers of f32, rounded; those that would become `high` are the largest below it
///   Gradient  none
///   Errors    Error: low, high or high - low is not finite in the dtype, or low > high.  DTypeError: not a float
///   Source    Philox4x32-10, see core/philox.h; the kernels are those of core/random_fill.h
Tensor random_uniform(const Shape& shape, double low, double high, const Draw& draw, DType dtype = DType::f32);

/// y = mean + deviation z, with z normally distributed.
///   Dtypes    f32, f64; bf16: the numbers of f32, rounded
///   Gradient  none
///   Errors    Error: mean or deviation is not finite in the dtype, or deviation < 0.  DTypeError: not a float
Tensor random_normal(const Shape& shape, double mean, double deviation, const Draw& draw, DType dtype = DType::f32);

/// y = whole numbers, equally likely in [low, high).
///   Dtypes    i64, i32.  Gradient: none
///   Errors    Error: low >= high, or one is outside the dtype.  DTypeError: no integer
Tensor random_integers(const Shape& shape, i64 low, i64 high, const Draw& draw, DType dtype = DType::i64);

/// y = 0, 1, .., n - 1 in an order of which all are equally likely, as i64 [n].
///   Gradient  none.  Errors: ShapeError, n < 0
///   Source    Durstenfeld: Algorithm 235, random permutation (1964)
Tensor random_permutation(i64 n, const Draw& draw);

}  // namespace moegrad
