// The losses of a classifier: how surprising the true class is.
#pragma once
#include "core/tensor.h"
#include "ops/loss.h"

namespace moegrad {

struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< share of the target's probability that is spread evenly over all V classes
  i64 ignore_index = -100;     ///< rows with this target do not count
  Reduction reduction = Reduction::mean;
  Tensor weight = {};  ///< [V], how much each class counts, without a gradient; an empty handle: all 1
  int axis = -1;       ///< of the classes in the logits; 1 for PyTorch's [N, V, d1, ..] with targets [N, d1, ..]
};

/// y = -sum over v of w_v q_v log softmax(logits)_v, with q = (1 - s) one_hot(target) + s / V, s = label_smoothing and
/// w the weight. Targets that are floats are probabilities t of all classes: q = (1 - s) t + s / V.
///   Shapes    logits [.., V], targets [..] (probabilities: [.., V]) -> a scalar, or [..] for Reduction::none (0 in
///             ignored rows); V >= 1
///   Dtypes    logits f32, f64, bf16; targets i64, or as the logits; weight as the logits
///   Units     nats; the mean divides by the sum of w_target over the rows that count, for probabilities by the number
///             of rows. Over none of them it is 0 with gradient 0 (PyTorch: NaN), so that a batch of padding alone adds
///             nothing
///   Gradient  for w = 1, dlogits = (softmax(logits) - q) dy, 0 in ignored rows; to probabilities as well; any order.
///             To class numbers and weights: none
///   Errors    ShapeError: targets are not logits without the classes (probabilities: of one shape), V = 0, weight is
///             not [V], axis out of range.  DTypeError: wrong dtypes.  IndexError: a target is neither in [0, V) nor
///             the ignored index.  Error: label_smoothing outside [0, 1]
///   Source    Rethinking the inception architecture (2015), arXiv:1512.00567, section 7 (label smoothing)
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const CrossEntropyOptions& options = {});

struct NllOptions {
  i64 ignore_index = -100;
  Reduction reduction = Reduction::mean;
  Tensor weight = {};
  int axis = -1;
};

/// y = -w_target log_p_target: cross_entropy of log-probabilities that are there already.
///   Gradient  dlog_p = -w_target dy at the target, 0 elsewhere; any order.  All else as cross_entropy of class numbers
Tensor nll_loss(const Tensor& log_p, const Tensor& targets, const NllOptions& options = {});

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
/// Reports the fault where a target is neither in [0, classes) nor the ignored index. The kernels above and gathers skip
/// such a row.
void check_targets(const i64* target, i64 n, i64 classes, i64 ignore_index, int fault);
}  // namespace cuda

}  // namespace moegrad
