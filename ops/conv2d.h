// Convolution of images, and what a vision transformer begins with.
#pragma once
#include "ops/unfold.h"

namespace moegrad {

struct ConvOptions {
  Size2 stride = 1, padding = 0, dilation = 1;  ///< as in WindowOptions
  i64 groups = 1;  ///< the channels of x and y fall into so many runs; each of y sees the one of x alone
};

/// y[.., o, a, b] = sum over c, i, j of w[o, c, i, j] x[.., c, a stride + i dilation - padding, ..] + b[o], with zeros
/// around the image: every window of the image times w.
///   Shapes    x [.., C, H, W], w [O, C / groups, k, l], b [O] or an empty handle -> y [.., O, p, q], p and q as in
///             unfold.  The windows are copied: C k l p q elements
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  to x, w and b; any order
///   Errors    ShapeError: shapes do not fit, groups do not divide C and O, a window does not fit.  DTypeError: two
///             dtypes, or not a float.  Error: sizes as in unfold
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b = {}, const ConvOptions& options = {});

/// Tokens of an image: its k x l patches, which do not overlap, times w.
///   Shapes    x [N, C, H, W], w [D, C, k, l], b [D] or an empty handle -> y [N, S, D], the S = (H / k) (W / l) patches
///             row by row; what is left at the right and below is not seen
///   Gradient, dtypes and errors as conv2d
///   Source    An image is worth 16x16 words (2020), arXiv:2010.11929, equation 1
Tensor patch_embed(const Tensor& x, const Tensor& w, const Tensor& b = {});

}  // namespace moegrad
