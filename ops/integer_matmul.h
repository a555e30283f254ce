// Matrix products of integers.
#pragma once
#include "core/nest.h"
#include "core/tensor.h"

namespace moegrad {

/// y = a b over the last two axes; the axes before them are a batch and broadcast.
///   Shapes    a [.., m, k], b [.., k, n] -> y [.., m, n].  Sizes may be 0: an empty sum is 0
///   Dtypes    i64, exact modulo 2^64: sums and products wrap around
///   Gradient  none
///   Errors    ShapeError: fewer than 2 axes, inner sizes differ, batches do not broadcast.  DTypeError: not i64
/// Plain loops at about one multiplication a cycle: for counts and ids, not for weights.
Tensor integer_matmul(const Tensor& a, const Tensor& b);

// Kernels, called only by ops/integer_matmul.cpp. Matrices are contiguous; `batch` holds where those of a and b begin.
namespace cpu {
void integer_matmul(const i64* a, const i64* b, i64* y, i64 m, i64 n, i64 k, const Nest<2>& batch);
}
namespace cuda {
void integer_matmul(const i64* a, const i64* b, i64* y, i64 m, i64 n, i64 k, const Nest<2>& batch);
}

}  // namespace moegrad
