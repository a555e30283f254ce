// Normalisation of tensors [N, C, ..], whose channels lie on axis 1.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = (x - mean) / sqrt(var + eps) * w + b, where each of `groups` equal runs of channels of one sample has a mean and
/// a variance (which divides by their number).
///   Shapes    x [N, C, ..], w and b [C] or an empty handle -> y as x; C is a multiple of groups
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  to x, w and b as layer_norm; any order
///   Errors    ShapeError: x has fewer than two axes, groups do not divide C, w or b is not [C], groups are empty.
///             DTypeError: two dtypes, or not a float.  Error: eps < 0
///   Source    Group normalization (2018), arXiv:1803.08494, equations 1 to 3
Tensor group_norm(const Tensor& x, i64 groups, const Tensor& w, const Tensor& b, double eps = 1e-5);

/// y = (x - mean) / sqrt(var + eps) * w + b, where each channel has a mean and a variance over all samples and the axes
/// behind it (which divides by their number): the form for training.
///   Shapes    x [N, C, ..], w and b [C] or an empty handle -> y as x; at least two values per channel
///   Dtypes    f32, f64, bf16, all alike
///   Gradient  to x (also through mean and var), w and b; any order
///   Errors    ShapeError: x has fewer than two axes, fewer than two values per channel, w or b is not [C].
///             DTypeError: two dtypes, or not a float.  Error: eps < 0
///   Source    Batch normalization (2015), arXiv:1502.03167, algorithm 1
Tensor batch_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps = 1e-5);

/// Means and variances [C] of channels, collected in training.
struct ChannelStatistics {
  Tensor mean, variance;
};

/// batch_norm with collected statistics in place of those of x: the form for evaluation.
///   Gradient  to x, w, b and the statistics; any order.   All else as batch_norm, but any number of values will do
Tensor batch_norm(const Tensor& x, const ChannelStatistics& statistics, const Tensor& w, const Tensor& b,
                  double eps = 1e-5);

/// (1 - momentum) old + momentum new, with the mean and the unbiased variance of each channel of x as the new ones.
///   Shapes    x [N, C, ..], old [C] each -> [C] each.  Dtypes f32, f64, bf16, all alike
///   Gradient  none.   Errors: as batch_norm, and Error: momentum outside [0, 1]
ChannelStatistics update_statistics(const ChannelStatistics& old, const Tensor& x, double momentum = 0.1);

}  // namespace moegrad
