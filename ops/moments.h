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

struct VarMean {
  Tensor var, mean;
};
/// var and mean of the same elements.   Dtypes, gradient and errors as var and mean
VarMean var_mean(const Tensor& x, const Axes& axes, VarOptions options = {});
VarMean var_mean(const Tensor& x, int axis, VarOptions options = {});
VarMean var_mean(const Tensor& x, VarOptions options = {});

/// The p-norm over `axes`: (sum |x|^p)^(1/p); the largest (smallest) |x| for p = infinity (-infinity), and the number
/// of elements that are not 0 for p = 0.
///   Shapes    as var.  Dtypes f32, f64, bf16; powers of elements must not overflow.  0 for no elements and p >= 0
///   Gradient  dy sign(x) (|x| / y)^(p-1), and 0 where x = 0 or y = 0: for p < 1 that is a convention, and so is 0 for
///             the second derivative where p < 2.  Shared evenly among elements that tie for p = +-infinity; p = 0:
///             none. Any order
///   Errors    Error: p is NaN.  ShapeError: as var; no elements and p < 0 or infinite.  DTypeError
Tensor norm(const Tensor& x, double p, const Axes& axes, bool keep = false);
Tensor norm(const Tensor& x, double p, int axis, bool keep = false);
Tensor norm(const Tensor& x, double p = 2);

}  // namespace moegrad
