// The windows of an image as columns, and their adjoint: columns added up into an image.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// A number for each of the two axes of an image; one number stands for both.
struct Size2 {
  i64 rows, columns;
  Size2(i64 both) : rows(both), columns(both) {}
  Size2(i64 r, i64 c) : rows(r), columns(c) {}
};

struct WindowOptions {
  Size2 stride = 1;    ///< from window to window
  Size2 padding = 0;   ///< zeros on each side of the image
  Size2 dilation = 1;  ///< from element to element of a window
};

/// y[.., (c k + i) l + j, a q + b] = x[.., c, a stride + i dilation - padding, b stride + j dilation - padding] (each
/// with its own stride, dilation and padding), 0 in the padding: window (a, b) of p x q as column a q + b.
///   Shapes    x [.., C, H, W], kernel k x l -> y [.., C k l, p q] with p = (H + 2 padding - dilation (k - 1) - 1) /
///             stride + 1, rounded down, and q likewise; p, q >= 1
///   Dtypes    f32, f64, bf16
///   Gradient  dx = fold(dy); any order
///   Errors    ShapeError: x has fewer than three axes, or the padded image is smaller than a window.  DTypeError.
///             Error: a size that is not in [1, 2^31), padding not in [0, 2^31)
Tensor unfold(const Tensor& x, Size2 kernel, const WindowOptions& options = {});

/// The image [.., C, H, W] into which the columns x [.., C k l, p q] of unfold are added.
///   Dtypes    f32, f64, bf16.  Sums in an order that depends on sizes only
///   Gradient  dx = unfold(dy); any order
///   Errors    as unfold, and ShapeError: x does not have the columns of an image of `size`
Tensor fold(const Tensor& x, Size2 size, Size2 kernel, const WindowOptions& options = {});

struct WindowPlan {
  i64 planes, height, width;  // of the image
  i64 down, across;           // windows
  Size2 kernel;
  WindowOptions options;
};
/// How windows lie in images x [.., C, H, W].   Errors as unfold
WindowPlan plan_windows(const char* op, const Shape& x, Size2 kernel, const WindowOptions& options);

// Kernels, called only by ops/unfold.cpp. image [planes, height, width], columns [planes, k, l, down, across],
// contiguous.
namespace cpu {
template <class F> void unfold_windows(const F* image, F* columns, const WindowPlan& plan);
template <class F> void fold_windows(const F* columns, F* image, const WindowPlan& plan);
}  // namespace cpu
namespace cuda {
template <class F> void unfold_windows(const F* image, F* columns, const WindowPlan& plan);
template <class F> void fold_windows(const F* columns, F* image, const WindowPlan& plan);
}  // namespace cuda

}  // namespace moegrad
