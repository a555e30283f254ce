// The windows of an image, each reduced to one number.
#pragma once
#include <optional>

#include "ops/unfold.h"

namespace moegrad {

struct MaxPoolOptions {
  std::optional<Size2> stride = {};  ///< the kernel's size if not given: windows side by side
  Size2 padding = 0;                 ///< at most half the kernel; never the maximum of a window with a finite element
  Size2 dilation = 1;
  bool ceil = false;  ///< windows may reach beyond the padding, but must begin before its end
};

/// The largest element of each window; NaN if there is one.
///   Shapes    x [.., H, W], kernel k x l -> y [.., p, q] with p and q as in unfold, rounded up under ceil
///   Dtypes    f32, f64, bf16
///   Gradient  to the element that was chosen: of equal ones the first, row by row. The choice is argmax's
///             (core/choose.h); any order
///   Errors    ShapeError: fewer than two axes, a window does not fit.  DTypeError: not a float.  Error: padding above
///             half the kernel, sizes as in unfold
Tensor max_pool2d(const Tensor& x, Size2 kernel, const MaxPoolOptions& options = {});

struct AvgPoolOptions {
  std::optional<Size2> stride = {};
  Size2 padding = 0;
  bool ceil = false;
  bool count_padding = true;        ///< zeros of the padding are elements as well; those beyond it never are
  std::optional<i64> divisor = {};  ///< in place of the number of elements
};

/// The mean of each window.
///   Gradient  dy / number of elements to each; any order.   All else as max_pool2d; Error: divisor is 0
Tensor avg_pool2d(const Tensor& x, Size2 kernel, const AvgPoolOptions& options = {});

}  // namespace moegrad
