// A top-k with a gradient: weights between 0 and 1 that sum to k, found by coordinate descent.
#pragma once
#include "core/tensor.h"

namespace moegrad {

struct CoordinateDescentOptions {
  i64 iterations = 20;
  double eps = 0.1;  ///< weight of the entropy: small is hard, and takes more iterations
  /// Iteration t = 0, 1, .. has eps_t = max(eps, eps_first eps_decay^t): one that shrinks converges in fewer of them.
  double eps_first = 0, eps_decay = 1;
};

/// The y that maximises sum_i x_i y_i - eps y_i log y_i where sum_i y_i = k and y_i <= 1. That is y_i = min(1, e^{(x_i +
/// a) / eps}) for the one number a with the right sum; with b_i <= 0 as the price of y_i <= 1:
///   y_i = e^{(x_i + a + b_i) / eps}
///   b_i = -x_i before the first iteration, of which each one sets
///   a   = eps_t (log k - logsumexp_i((x_i + b_i) / eps_t)), so that y sums to k, then
///   b_i = -max(x_i + a, 0), so that no y_i is above 1
///   Shapes    x [.., n], mask bool of that shape or an empty handle; 0 < k <= n, not always whole -> y [.., n]. The
///             leading axes are rows of their own
///   Dtypes    f32, f64; bf16 is computed, and given, in f32
///   Values    y in [0, 1], in the order of x; equal x have equal y. Where x >= 0 a row sums to k or more; to k once
///             the iterations have converged, for which a small eps needs many: with a whole k, what is left falls as
///             k / iterations. eps -> 0 then gives 1 for the k largest x, 0 for the others. For x / eps that is finite
///             in the dtype
///   Mask      masked elements give 0, count for nothing, and may hold anything. k or fewer that are not masked have y
///             -> 1; a row that is masked entirely is 0
///   Gradient  dx, through all iterations; any order. An element at its bound y_i = 1 has none of its own, at x_i + a =
///             0 that of y_i < 1. Masked elements have 0
///   Cost      O(n iterations) per row, also in memory where a gradient is asked for
///   Errors    ShapeError: x has no axis, k is outside (0, n], mask has another shape.  DTypeError: x is no float or
///             mask not bool.  Error: iterations < 1, eps not above 0, eps_first below 0, eps_decay outside (0, 1], or
///             not finite
///   Source    CoLT5 (2023), arXiv:2303.09752, section 3.1 and appendix; Coordinate descent algorithms (2015),
///             arXiv:1502.04759; for eps_first Conditional adapters (2023), arXiv:2304.04947. coor_descent of
///             CoLT5-attention, which divides by eps_t of one iteration more where that is smaller still
Tensor coordinate_descent(const Tensor& x, double k, const Tensor& mask = {},
                          const CoordinateDescentOptions& options = {});

/// Throws Error, by the name of `who`, for options that coordinate_descent refuses.
void check_options(const char* who, const CoordinateDescentOptions& options);

}  // namespace moegrad
