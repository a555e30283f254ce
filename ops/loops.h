// Elementwise kernels: one formula over the elements of broadcast or strided operands.
//
// A formula is a functor with a MOEGRAD_HD operator(), so the CPU loop here and the GPU kernel compile the same text.
// It is given bf16 operands as float, and its result is rounded when it is stored. `nest` holds the strides of the
// operands in the order of the arguments, the output y last; y is contiguous.
#pragma once
#include <algorithm>
#include <type_traits>

#include "core/nest.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace moegrad {

namespace formula {
struct Same {  // a copy
  template <class T> MOEGRAD_HD T operator()(T x) const { return x; }
};
}  // namespace formula

namespace cpu {

inline constexpr i64 kMapGrain = 1 << 14;  // elements per thread: about 10 us of a cheap formula

// Elements as they lie in memory, and their values. GCC vectorises loads and stores of bytes, but not of bool.
template <class T> auto raw(T* p) {
  using Stored = std::remove_const_t<T>;
  if constexpr (std::is_same_v<T, const bool>)
    return reinterpret_cast<const unsigned char*>(p);
  else if constexpr (std::is_same_v<Stored, bf16>)
    return reinterpret_cast<std::conditional_t<std::is_const_v<T>, const std::uint16_t, std::uint16_t>*>(p);
  else
    return p;
}
template <class T, class Raw> MOEGRAD_HD inline Computed<T> value(Raw v) {
  if constexpr (std::is_same_v<T, bool>)
    return v != 0;
  else if constexpr (std::is_same_v<T, bf16>)
    return bf16::widen(v);
  else
    return v;
}
// What stores a result as a T.
template <class T, class Result> MOEGRAD_HD inline auto stored(Result v) {
  if constexpr (std::is_same_v<T, bf16>)
    return convert<bf16>(v).bits;
  else
    return v;
}

inline constexpr i64 kTile = 16;  // elements of a cache line, for 4 bytes

/// The axis along which x lies while y lies along the last one, if there is such an axis: a transposition; else -1.
inline int transposed_axis(const Nest<2>& nest) {
  const int last = nest.rank - 1;
  if (nest.strides[0][last] == 1 || nest.strides[1][last] != 1 || nest.sizes[last] < kTile) return -1;
  for (int i = 0; i < last; ++i)
    if (nest.strides[0][i] == 1 && nest.sizes[i] >= kTile) return i;
  return -1;
}

/// y = op(x) for a transposition, in strips of kTile positions of `axis`, whose cache lines are used as a whole.
template <class Op, class X, class Y> void map1_transposed(Op op, const X* x, Y* y, const Nest<2>& nest, int axis) {
  Nest<2> outer = nest;
  const int last = nest.rank - 1;
  outer.sizes[axis] = outer.sizes[last] = 1;
  const i64 n = nest.sizes[axis], m = nest.sizes[last], sx = nest.strides[0][last], sy = nest.strides[1][axis];
  const i64 strips = (n + kTile - 1) / kTile;
  const auto strip = [sx, sy, m, op](const auto* __restrict p, auto* __restrict q, i64 width) {
    for (i64 begin = 0; begin < m; begin += 4 * kTile)
      for (i64 r = 0; r < width; ++r)
        for (i64 c = begin; c < std::min(m, begin + 4 * kTile); ++c)
          q[r * sy + c] = stored<Y>(op(value<X>(p[r + c * sx])));
  };
  parallel_for(outer.elements() * strips, kMapGrain / (kTile * m) + 1, [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; ++t) {
      const i64 first = t % strips * kTile;
      walk(outer, t / strips, t / strips + 1, [&](const i64* offset, i64) {
        strip(raw(x + offset[0] + first), raw(y + offset[1] + first * sy), std::min(kTile, n - first));
      });
    }
  });
}

/// y = op(x)
template <class Op, class X, class Y> void map1(Op op, const X* x, Y* y, const Nest<2>& nest) {
  if constexpr (std::is_same_v<Op, formula::Same> && std::is_same_v<X, bf16>)  // a copy: bits, whatever they are
    return map1(op, raw(x), raw(y), nest);
  const i64 sx = nest.strides[0][nest.rank - 1], sy = nest.strides[1][nest.rank - 1];
  if (const int axis = transposed_axis(nest); axis >= 0) return map1_transposed(op, x, y, nest, axis);
  parallel_for(nest.elements(), kMapGrain, [&](i64 begin, i64 end) {
    const Op f = op;  // a copy here: stores to y cannot change it, and the loops vectorise
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const auto* __restrict p = raw(x + offset[0]);
      auto* __restrict q = raw(y + offset[1]);
      if (sx == 1 && sy == 1) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) q[i] = stored<Y>(f(value<X>(p[i])));
      } else {
        for (i64 i = 0; i < n; ++i) q[i * sy] = stored<Y>(f(value<X>(p[i * sx])));
      }
    });
  });
}

/// y = op(a, b)
template <class Op, class A, class B, class Y> void map2(Op op, const A* a, const B* b, Y* y, const Nest<3>& nest) {
  const int last = nest.rank - 1;
  const i64 sa = nest.strides[0][last], sb = nest.strides[1][last], sy = nest.strides[2][last];
  parallel_for(nest.elements(), kMapGrain, [&](i64 begin, i64 end) {
    const Op f = op;  // a copy here: stores to y cannot change it, and the loops vectorise
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const auto* __restrict p = raw(a + offset[0]);
      const auto* __restrict q = raw(b + offset[1]);
      auto* __restrict r = raw(y + offset[2]);
      if (sa == 1 && sb == 1 && sy == 1) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) r[i] = stored<Y>(f(value<A>(p[i]), value<B>(q[i])));
      } else if (sa == 1 && sb == 0 && sy == 1) {
        const Computed<B> second = value<B>(*q);
#pragma omp simd
        for (i64 i = 0; i < n; ++i) r[i] = stored<Y>(f(value<A>(p[i]), second));
      } else if (sa == 0 && sb == 1 && sy == 1) {
        const Computed<A> first = value<A>(*p);
#pragma omp simd
        for (i64 i = 0; i < n; ++i) r[i] = stored<Y>(f(first, value<B>(q[i])));
      } else {
        for (i64 i = 0; i < n; ++i) r[i * sy] = stored<Y>(f(value<A>(p[i * sa]), value<B>(q[i * sb])));
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
    const Op f = op;  // a copy here: stores to y cannot change it, and the loops vectorise
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const auto* __restrict p = raw(a + offset[0]);
      const auto* __restrict q = raw(b + offset[1]);
      const auto* __restrict r = raw(c + offset[2]);
      auto* __restrict s = raw(y + offset[3]);
      if (sa == 1 && sb == 1 && sc == 1 && sy == 1) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) s[i] = stored<Y>(f(value<A>(p[i]), value<B>(q[i]), value<C>(r[i])));
      } else if (sa == 1 && sb == 1 && sc == 0 && sy == 1) {
        const Computed<C> third = value<C>(*r);
#pragma omp simd
        for (i64 i = 0; i < n; ++i) s[i] = stored<Y>(f(value<A>(p[i]), value<B>(q[i]), third));
      } else if (sa == 1 && sb == 0 && sc == 1 && sy == 1) {
        const Computed<B> second = value<B>(*q);
#pragma omp simd
        for (i64 i = 0; i < n; ++i) s[i] = stored<Y>(f(value<A>(p[i]), second, value<C>(r[i])));
      } else {
        for (i64 i = 0; i < n; ++i)
          s[i * sy] = stored<Y>(f(value<A>(p[i * sa]), value<B>(q[i * sb]), value<C>(r[i * sc])));
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
