// Spread and size of the values along axes.
#pragma once
#include "core/tensor.h"

namespace moegrad {

struct VarOptions {
  i64 correction =
      1;  ///< 1: the unbiased estimate of the variance of what x is a sample of; 0: the variance of x itself
  bool keep = false;  ///< reduced axes stay, with size 1
};

/// y = sum (x - mean)^2 / (n - correction) over `axes` (over all axes where none are given), in two passes.
///   Shapes    x [..] -> y without `axes`, or with size 1 there under keep
///   Dtypes    f32, f64, bf16
///   Gradient  dx = 2 dy (x - mean) / (n - correction); any order
///   Errors    ShapeError: an axis is outside [-rank, rank) or named twice; n <= correction.  DTypeError
Tensor var(const Tensor& x, const Axes& axes, VarOptions options = {});
Tensor var(const Tensor& x, int axis, VarOptions options = {});
Tensor var(const Tensor& x, VarOptions options = {});

/// y = sqrt(var).  Gradient: dy (x - mean) / ((n - correction) y), and 0 where all values are equal; any order.
///   Errors    as var
Tensor stddev(const Tensor& x, const Axes& axes, VarOptions options = {});
Tensor stddev(const Tensor& x, int axis, VarOptions options = {});
Tensor stddev(const Tensor& x, VarOptions options = {});

/// The p-norm over `axes`, for p = 1: sum |x|, p = 2: sqrt(sum x^2), p = infinity: max |x|.
///   Shapes    as var.  Dtypes f32, f64, bf16; for p = 2 the squares must not overflow
///   Gradient  p = 1: dy sign(x).  p = 2: dy x / y, and 0 where y = 0.  p = infinity: dy sign(x), shared evenly among
///   the
///             elements that tie for the maximum.  Any order
///   Errors    Error: another p.  ShapeError: as var; p = infinity of no elements.  DTypeError
Tensor norm(const Tensor& x, double p, const Axes& axes, bool keep = false);
Tensor norm(const Tensor& x, double p, int axis, bool keep = false);
Tensor norm(const Tensor& x, double p = 2);

}  // namespace moegrad
