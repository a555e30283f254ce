// Elementwise kernels: one formula over the elements of broadcast or strided operands.
//
// A formula is a functor with a MOEGRAD_HD operator(), so the CPU loop here and the GPU kernel compile the same text.
// `nest` holds the strides of the operands in the order of the arguments, the output y last; y is contiguous.
#pragma once
#include "core/nest.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace moegrad {

namespace cpu {

inline constexpr i64 kMapGrain = 1 << 14;  // elements per thread: about 10 us of a cheap formula

/// y = op(x)
template <class Op, class X, class Y> void map1(Op op, const X* x, Y* y, const Nest<2>& nest) {
  const i64 sx = nest.strides[0][nest.rank - 1], sy = nest.strides[1][nest.rank - 1];
  parallel_for(nest.elements(), kMapGrain, [&](i64 begin, i64 end) {
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const X* __restrict p = x + offset[0];
      Y* __restrict q = y + offset[1];
      if (sx == 1 && sy == 1) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) q[i] = op(p[i]);
      } else {
        for (i64 i = 0; i < n; ++i) q[i * sy] = op(p[i * sx]);
      }
    });
  });
}

/// y = op(a, b)
template <class Op, class A, class B, class Y> void map2(Op op, const A* a, const B* b, Y* y, const Nest<3>& nest) {
  const int last = nest.rank - 1;
  const i64 sa = nest.strides[0][last], sb = nest.strides[1][last], sy = nest.strides[2][last];
  parallel_for(nest.elements(), kMapGrain, [&](i64 begin, i64 end) {
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const A* __restrict p = a + offset[0];
      const B* __restrict q = b + offset[1];
      Y* __restrict r = y + offset[2];
      if (sa == 1 && sb == 1 && sy == 1) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) r[i] = op(p[i], q[i]);
      } else if (sa == 1 && sb == 0 && sy == 1) {
        const B second = *q;
#pragma omp simd
        for (i64 i = 0; i < n; ++i) r[i] = op(p[i], second);
      } else if (sa == 0 && sb == 1 && sy == 1) {
        const A first = *p;
#pragma omp simd
        for (i64 i = 0; i < n; ++i) r[i] = op(first, q[i]);
      } else {
        for (i64 i = 0; i < n; ++i) r[i * sy] = op(p[i * sa], q[i * sb]);
      }
    });
  });
}

/// y = op(a, b, c)
template <class Op, class A, class B, class C, class Y>
void map3(Op op, const A* a, const B* b, const C* c, Y* y, const Nest<4>& nest) {
  const int last = nest.rank - 1;
  const i64 sa = nest.strides[0][last], sb = nest.strides[1][last], sc = nest.strides[2][last],
            sy = nest.strides[3][last];
  parallel_for(nest.elements(), kMapGrain, [&](i64 begin, i64 end) {
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const A* __restrict p = a + offset[0];
      const B* __restrict q = b + offset[1];
      const C* __restrict r = c + offset[2];
      Y* __restrict s = y + offset[3];
      if (sa == 1 && sb == 1 && sc == 1 && sy == 1) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) s[i] = op(p[i], q[i], r[i]);
      } else {
        for (i64 i = 0; i < n; ++i) s[i * sy] = op(p[i * sa], q[i * sb], r[i * sc]);
      }
    });
  });
}

}  // namespace cpu

namespace cuda {
template <class Op, class X, class Y> void map1(Op op, const X* x, Y* y, const Nest<2>& nest);
template <class Op, class A, class B, class Y> void map2(Op op, const A* a, const B* b, Y* y, const Nest<3>& nest);
template <class Op, class A, class B, class C, class Y>
void map3(Op op, const A* a, const B* b, const C* c, Y* y, const Nest<4>& nest);
}  // namespace cuda

namespace formula {
struct Same {  // a copy
  template <class T> MOEGRAD_HD T operator()(T x) const { return x; }
};
}  // namespace formula

/// The nest over operands broadcast to `shape`, merged to as few axes as possible. Zero elements give sizes with a
/// zero.
template <int N> Nest<N> nest_over(const Shape& shape, const Tensor* const (&operands)[N]) {
  Nest<N> nest;
  nest.rank = shape.rank() > 0 ? shape.rank() : 1;
  for (int i = 0; i < shape.rank(); ++i) nest.sizes[i] = shape[i];
  for (int k = 0; k < N; ++k) {
    const Shape& own = operands[k]->shape();
    const Strides& strides = operands[k]->strides();
    const int extra = shape.rank() - own.rank();
    for (int i = 0; i < own.rank(); ++i) nest.strides[k][i + extra] = own[i] == 1 ? 0 : strides[i];
  }
  merge_axes(nest);
  return nest;
}

}  // namespace moegrad
