// Softmax and its relatives, jointly over one axis or several.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// y = e^x / (sum of e^x over `axes`).
///   Shapes    x [..] -> y, same shape; Soft MoE normalises over two axes at once
///   Dtypes    f32, f64, bf16
///   Units     x logits (nats), y probabilities that sum to 1 over `axes`
///   Gradient  dx = y (dy - sum(y dy, axes)); any order
///   Values    -inf gives probability 0. NaN everywhere in a group that is -inf throughout, or has a NaN or +inf
///   Errors    ShapeError: an axis outside [-rank, rank) or named twice, or no element to normalise over
///   Source    Online normalizer calculation for softmax (2018), arXiv:1805.02867, "safe softmax"
Tensor softmax(const Tensor& x, const Axes& axes);
Tensor softmax(const Tensor& x, int axis);

/// y = x - logsumexp(x, axes): the logarithm of softmax without its underflow.
///   Gradient  dx = dy - softmax(x) sum(dy, axes); any order.   Values, shapes, dtypes and errors as softmax
Tensor log_softmax(const Tensor& x, const Axes& axes);
Tensor log_softmax(const Tensor& x, int axis);

/// y = log(sum of e^x over `axes`).
///   Shapes    x [..] -> y without `axes`, or with size 1 there under keep_dims
///   Dtypes    f32, f64, bf16
///   Gradient  dx = dy softmax(x); any order.  NaN where a group is -inf throughout
///   Values    -inf for a group that is -inf throughout, +inf for one with a +inf, NaN for one with a NaN
///   Errors    as softmax
Tensor logsumexp(const Tensor& x, const Axes& axes, bool keep = false);
Tensor logsumexp(const Tensor& x, int axis, bool keep = false);

/// Groups of `n` values, `inner` apart: x [outer, n, inner] in row-major order.
struct SoftmaxBlocks {
  i64 outer, n, inner;
};
// Kernels, called only by ops/softmax.cpp. Results may not alias inputs. logsumexp writes [outer, inner].
namespace cpu {
template <class F> void softmax_blocks(const F* x, F* y, const SoftmaxBlocks& blocks);
template <class F> void softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& blocks);
template <class F> void log_softmax_blocks(const F* x, F* y, const SoftmaxBlocks& blocks);
template <class F> void log_softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& blocks);
template <class F> void logsumexp_blocks(const F* x, F* y, const SoftmaxBlocks& blocks);
}  // namespace cpu
namespace cuda {
template <class F> void softmax_blocks(const F* x, F* y, const SoftmaxBlocks& blocks);
template <class F> void softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& blocks);
template <class F> void log_softmax_blocks(const F* x, F* y, const SoftmaxBlocks& blocks);
template <class F> void log_softmax_gradient(const F* y, const F* dy, F* dx, const SoftmaxBlocks& blocks);
template <class F> void logsumexp_blocks(const F* x, F* y, const SoftmaxBlocks& blocks);
}  // namespace cuda

}  // namespace moegrad
