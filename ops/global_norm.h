// The size of many tensors together, for clipping.
#pragma once
#include <span>

#include "core/tensor.h"

namespace moegrad {

/// The p-norm of all elements of all tensors: (sum |x|^p)^(1/p), and max |x| for p = infinity.
///   Shapes    any -> f64 []; 0 for no tensors
///   Dtypes    f32, f64, bf16, also mixed; summed as f64 in an order that depends on sizes only
///   Gradient  none: clipping takes the norm as a number
///   Errors    DTypeError: a tensor is not a float.  DeviceError: two devices.  Error: p is not above 0
Tensor global_norm(std::span<const Tensor> xs, double p = 2);

// Kernels, called only by ops/global_norm.cpp. total becomes total + sum |x|^p, or max(total, |x|); then its root.
namespace cpu {
template <class F> void add_powers(const F* x, i64 n, double p, double* total);
void take_root(double* total, double p);
}  // namespace cpu
namespace cuda {
template <class F> void add_powers(const F* x, i64 n, double p, double* total);
void take_root(double* total, double p);
}  // namespace cuda

}  // namespace moegrad
