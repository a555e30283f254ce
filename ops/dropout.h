// Random zeros, as a regulariser.
#pragma once
#include "core/random.h"
#include "core/random_fill.h"
#include "core/tensor.h"

namespace moegrad {

/// y = x / (1 - p), but 0 with probability p for every element by itself; x itself for p = 0, zeros for p = 1.
///   Shapes    x [..] -> y, same shape.  Element i in row-major order is dropped where number i of the draw is below p:
///             the same elements for f32 and f64, for any number of threads, and whenever the draw is repeated
///   Dtypes    f32, f64, bf16
///   Gradient  dx = dropout(dy) with the same draw: nothing but its name is kept; any order
///   Errors    Error: p outside [0, 1], or a draw of no stream.  DTypeError: not a float
///   Source    Dropout: a simple way to prevent neural networks from overfitting (2014), JMLR 15, section 10 (inverted)
Tensor dropout(const Tensor& x, double p, const Draw& draw);

/// What a kernel needs to know of a dropout.
struct DropoutPlan {
  random::Key key{};
  u32 threshold = 0;  // an element is kept where the upper 24 bits of its word are not below it
  double scale = 1;   // of what is kept
};
/// Throws as dropout, naming `op`. The plan points into the draw's step.
DropoutPlan plan_dropout(const char* op, double p, const Draw& draw);

// Kernels of ops/dropout.cpp and ops/attention.cpp: elements first .. first + n - 1 of the whole tensor, at x and y,
// which may be the same. dropout_range runs in the calling thread.
namespace cpu {
template <class F> void dropout_range(const F* x, F* y, i64 first, i64 n, const DropoutPlan& plan);
template <class F> void dropout_elements(const F* x, F* y, i64 n, const DropoutPlan& plan);
}  // namespace cpu
namespace cuda {
template <class F> void dropout_elements(const F* x, F* y, i64 n, const DropoutPlan& plan);
}

}  // namespace moegrad
