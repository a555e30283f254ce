// The loss of a classifier: how surprising the true class is.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// What becomes of the losses of single rows.
enum class Reduction { mean, sum, none };

struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< share of the target's probability that is spread evenly over all V classes
  i64 ignore_index = -100;     ///< rows with this target do not count
  Reduction reduction = Reduction::mean;
};

/// y = -sum over v of q_v log softmax(logits)_v, with q = (1 - s) one_hot(target) + s / V and s = label_smoothing.
///   Shapes    logits [.., V], targets [..] -> a scalar, or [..] for Reduction::none (0 in ignored rows); V >= 1
///   Dtypes    logits f32, f64; targets i64
///   Units     nats; the mean is over the rows that count. Over none of them it is 0 with gradient 0 (PyTorch: NaN), so
///             that a batch of padding alone adds nothing
///   Gradient  dlogits = (softmax(logits) - q) dy, 0 in ignored rows; any order.  targets: none
///   Errors    ShapeError: targets are not logits without the last axis, or V = 0.  DTypeError: wrong dtypes.
///             IndexError: a target is neither in [0, V) nor the ignored index.  Error: label_smoothing outside [0, 1]
///   Source    Rethinking the inception architecture (2015), arXiv:1512.00567, section 7 (label smoothing)
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, CrossEntropyOptions options = {});

struct CrossEntropyRows {
  i64 rows, classes;
  double smoothing;
  i64 ignore_index;
};
// Kernels, called only by ops/cross_entropy.cpp. x, dx: [rows, classes]; the others: [rows]. lse is logsumexp(x).
namespace cpu {
template <class F>
void cross_entropy_rows(const F* x, const i64* target, F* loss, F* lse, const CrossEntropyRows& plan);
template <class F>
void cross_entropy_gradient(const F* x, const i64* target, const F* lse, const F* dy, F* dx,
                            const CrossEntropyRows& plan);
}  // namespace cpu
namespace cuda {
template <class F>
void cross_entropy_rows(const F* x, const i64* target, F* loss, F* lse, const CrossEntropyRows& plan);
template <class F>
void cross_entropy_gradient(const F* x, const i64* target, const F* lse, const F* dy, F* dx,
                            const CrossEntropyRows& plan);
}  // namespace cuda

}  // namespace moegrad
