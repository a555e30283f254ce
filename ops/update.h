// What an optimizer does to tensors in place, in one pass over memory. No graph is recorded and no gradient is changed.
#pragma once
#include <span>

#include "core/tensor.h"

namespace moegrad {

/// sqrt of the sum of the squares of all elements of all tensors: the global norm of a model's gradients.
///   Shapes    any -> f64 [].  Dtypes: f32, f64; summed as f64 in an order that depends on sizes only.  No copy is made
///   Gradient  none
///   Errors    DTypeError: a tensor is not a float.  DeviceError: two devices
Tensor global_norm(std::span<const Tensor> xs);

/// Settings of adamw_update; the three tensors are scalars on the device of the parameter.
struct AdamWUpdate {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, lr_scale = 1;
  Tensor lr;     ///< f64 []
  Tensor step;   ///< i64 [], 1 for the first update
  Tensor scale;  ///< f64 [], multiplies the gradient (clipping); may be absent
};

/// One step of AdamW for one parameter, in place:
///   g = scale dw;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  r = lr lr_scale
///   w = w - r weight_decay w - r (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
///   Shapes    w, dw, m, v alike; w, m and v contiguous.  Dtypes: f32, f64, all four alike
///   Errors    ShapeError, DTypeError: they differ.  Error: w, m or v is not contiguous
///   Source    Loshchilov, Hutter: Decoupled weight decay regularization (2019), arXiv:1711.05101, Algorithm 2
void adamw_update(const Tensor& w, const Tensor& dw, const Tensor& m, const Tensor& v, const AdamWUpdate& update);

/// x = x + 1, in place.  Shapes: i64 [].
void count_up(const Tensor& x);

/// What the kernel of adamw_update is given.
struct AdamWPlan {
  double beta1, beta2, eps, weight_decay, lr_scale;
  const double* lr;
  const i64* step;
  const double* scale;  // nullptr: 1
};
// Kernels, called only by ops/update.cpp.
namespace cpu {
template <class F> void add_squares(const F* x, i64 n, double* total);
void take_root(double* x);
template <class F> void adamw_update(F* w, const F* dw, F* m, F* v, i64 n, const AdamWPlan& plan);
void count_up(i64* x);
}  // namespace cpu
namespace cuda {
template <class F> void add_squares(const F* x, i64 n, double* total);
void take_root(double* x);
template <class F> void adamw_update(F* w, const F* dw, F* m, F* v, i64 n, const AdamWPlan& plan);
void count_up(i64* x);
}  // namespace cuda

}  // namespace moegrad
