// Random subsets of exactly k elements, with a gradient.
#pragma once
#include "core/tensor.h"

namespace moegrad {

// n independent bits, bit i one with probability sigmoid(logits_i), given that exactly k of them are one. Of all four
// functions:
//   Shapes    logits [.., n], 1 <= k <= n; the leading axes are rows of their own
//   Dtypes    f32, f64; bf16 is computed, and given, in f32
//   Values    a bit with logit -infinity is never one, where k others can be; a row in which fewer than k can be stays
//             finite. Everything is computed as logarithms, so no size of the logits overflows;
//             probabilities have an error of about the rounding of the largest sum of k logits
//   Cost      O(n k) per row, in n steps
//   Errors    ShapeError: logits have no axis, k is outside [1, n].  DTypeError: logits are no floats
//   Source    SIMPLE: a gradient estimator for k-subset sampling (2023), arXiv:2210.01941, section 3

/// y_ij = log Pr(exactly j of the first i bits are one), below -2^110 for j > i.
///   y_ij = log(Pr(i - 1, j - 1) p_i + Pr(i - 1, j) (1 - p_i))
///   Shapes    y [.., n + 1, k + 1]
///   Gradient  dlogits; any order
///   Source    Algorithm 1
Tensor log_pr_table(const Tensor& logits, i64 k);

/// y = log Pr(exactly k bits are one): the last entry of the table. Its gradient is marginals - sigmoid(logits).
///   Shapes    y [..]
///   Gradient  dlogits; any order
Tensor log_pr_exactly(const Tensor& logits, i64 k);

/// y_i = Pr(bit i is one | exactly k are): sums to k over a row.
///   y_i = p_i Pr(exactly k - 1 of the others) / Pr(exactly k)
///   Shapes    y [.., n]
///   Gradient  dlogits; any order
///   Source    Theorem 1
Tensor k_subset_marginals(const Tensor& logits, i64 k);

/// An exact sample: 1 for the k bits of the subset, else 0.
///   Shapes    uniform [n, ..], numbers in [0, 1): row t decides bit n - 1 - t, from the last to the first -> y [.., n]
///   Choice    one choice named "k_subset", its margin the least distance of a number to what it is compared with
///   Gradient  none
///   Errors    also ShapeError, DTypeError: uniform has another shape, or the dtype is not that of y
///   Source    Algorithm 2
Tensor sample_k_subset(const Tensor& logits, i64 k, const Tensor& uniform);

/// The sample, whose gradient is that of the marginals: y = sample + marginals - marginals without their gradient.
///   Shapes, choice and errors as sample_k_subset
///   Gradient  that of k_subset_marginals, at the same logits; any order. No finite difference of y shows it
///   Source    section 3, equation 4
Tensor simple_k_subset(const Tensor& logits, i64 k, const Tensor& uniform);

}  // namespace moegrad
