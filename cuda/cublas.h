// Matrix products by cuBLAS, which only cublas.cpp knows: in row-major order, on the one stream.
#pragma once
#include "core/fwd.h"

namespace moegrad::cuda {

/// y [m, n] = a [m, k] b [k, n]; y is dense. Rows of a and b are `stride` elements apart, or columns where transposed.
/// Sizes may be 0: an empty sum is 0.
struct Gemm {
  const char* op;  // what errors name
  i64 m, n, k;
  i64 a_stride, b_stride;
  bool a_transposed = false;
  bool b_transposed = false;
};

/// `count` products, whose operands begin `a_step`, `b_step` and `y_step` elements one behind the other; a_step and
/// b_step may be 0. F is float (see set_tf32), double, or bf16, whose sums are f32 and rounded once.
///   Errors  Error: m, n, k or a stride beyond 2^31 - 1
template <class F>
void gemm_strided(const Gemm& gemm, const F* a, i64 a_step, const F* b, i64 b_step, F* y, i64 y_step, i64 count);

/// `count` products of operands anywhere: the arrays of addresses lie on the device. k > 0.
template <class F> void gemm_scattered(const Gemm& gemm, const F* const* a, const F* const* b, F* const* y, i64 count);
/// What gemm_scattered asks of the addresses, in bytes: cuBLAS, which cannot see them, reads that much at a time.
template <class F> i64 address_alignment();

/// Makes what products need and a capture could not: call it before one begins.
void prepare_products();

}  // namespace moegrad::cuda
