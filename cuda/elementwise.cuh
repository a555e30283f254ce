// Elementwise kernels: the formulas of ops/ over the elements of broadcast or strided operands, as in ops/loops.h.
//
// Dense operands (and single numbers beside them) are read and written 16 bytes at a time, each byte once. Any other
// layout takes one element for each thread, whose place in every operand is worked out from its number.
#pragma once
#include <type_traits>
#include <utility>

#include "core/dtype.h"
#include "core/nest.h"
#include "cuda/launch.h"
#include "ops/loops.h"

namespace moegrad::cuda {

template <class T> __device__ inline Computed<T> value(T v) {
  if constexpr (std::is_same_v<T, bf16>)
    return bf16::widen(v.bits);
  else
    return v;
}

// ---- dense operands

template <class T, int V> struct alignas(sizeof(T) * V) Pack { T element[V]; };

/// V elements one after another, or V times the same one.
template <class T> struct Operand {
  const T* data;
  bool uniform;
  template <int V> __device__ Pack<T, V> load(i64 pack) const {
    if (!uniform) return reinterpret_cast<const Pack<T, V>*>(data)[pack];
    Pack<T, V> p;
    for (int k = 0; k < V; ++k) p.element[k] = *data;
    return p;
  }
  __device__ T at(i64 i) const { return data[uniform ? 0 : i]; }
};

template <int V, class Op, class Y, class... X>
__device__ inline void map_pack(const Op& op, Y* y, i64 pack, const Pack<X, V>&... x) {
  Pack<Y, V> result;
  for (int k = 0; k < V; ++k) result.element[k] = convert<Y>(op(value(x.element[k])...));
  reinterpret_cast<Pack<Y, V>*>(y)[pack] = result;
}

template <int V, class Op, class Y, class... X>
__global__ void __launch_bounds__(kBlock) map_dense_kernel(Op op, i64 n, Y* y, Operand<X>... x) {
  const i64 packs = n / V;
  for (i64 p = first_index(); p < packs; p += grid_stride()) map_pack<V>(op, y, p, x.template load<V>(p)...);
  for (i64 i = packs * V + first_index(); i < n; i += grid_stride()) y[i] = convert<Y>(op(value(x.at(i))...));
}

// ---- any layout

/// The offsets of element i of the nest in each operand.
template <int N> struct Offsets {
  i64 of[N];
  __device__ Offsets(const Nest<N>& nest, i64 i) {
    for (int k = 0; k < N; ++k) of[k] = 0;
    if (i <= 0xffffffff) {  // a division of 64 bits takes several times as long
      u32 rest = static_cast<u32>(i);
      for (int a = nest.rank - 1; a > 0; --a) {
        const u32 size = static_cast<u32>(nest.sizes[a]), next = rest / size;
        add(nest, a, rest - next * size);
        rest = next;
      }
      add(nest, 0, rest);
      return;
    }
    for (int a = nest.rank - 1; a > 0; --a) {
      add(nest, a, i % nest.sizes[a]);
      i /= nest.sizes[a];
    }
    add(nest, 0, i);
  }

 private:
  __device__ void add(const Nest<N>& nest, int axis, i64 at) {
    for (int k = 0; k < N; ++k) of[k] += at * nest.strides[k][axis];
  }
};

template <class Op, class Y, int N, std::size_t... K, class... X>
__device__ inline void map_element(const Op& op, Y* y, const Offsets<N>& at, std::index_sequence<K...>, const X*... x) {
  y[at.of[N - 1]] = convert<Y>(op(value(x[at.of[K]])...));
}

template <class Op, int N, class Y, class... X>
__global__ void __launch_bounds__(kBlock) map_nest_kernel(Op op, i64 n, Nest<N> nest, Y* y, const X*... x) {
  for (i64 i = first_index(); i < n; i += grid_stride())
    map_element(op, y, Offsets<N>(nest, i), std::index_sequence_for<X...>{}, x...);
}

// ---- the choice

template <class... T> constexpr std::size_t largest_size() {
  std::size_t most = 0;
  ((most = sizeof(T) > most ? sizeof(T) : most), ...);
  return most;
}

/// True when operand k is dense, or one number for all.
template <int N> bool dense_or_uniform(const Nest<N>& nest, int k) {
  return nest.rank == 1 && (nest.strides[k][0] == 1 || nest.strides[k][0] == 0);
}

template <std::size_t... K, class Op, int N, class Y, class... X>
void map_any(std::index_sequence<K...>, Op op, const Nest<N>& nest, Y* y, const X*... x) {
  constexpr int V = static_cast<int>(16 / largest_size<Y, X...>());
  const auto aligned = [](const auto* p, std::size_t size) {
    return reinterpret_cast<std::uintptr_t>(p) % (V * size) == 0;
  };
  const i64 n = nest.elements();
  if (n == 0) return;
  const bool packs = nest.dense(N - 1) && aligned(y, sizeof(Y)) && (dense_or_uniform(nest, K) && ...) &&
                     ((nest.strides[K][0] == 0 || aligned(x, sizeof(X))) && ...);
  if (packs) {
    const Grid g = grid_for(n, V);
    launch("map", g.blocks, g.threads, 0, map_dense_kernel<V, Op, Y, X...>, op, n, y,
           Operand<X>{x, nest.strides[K][0] == 0}...);
  } else {
    const Grid g = grid_for(n);
    launch("map", g.blocks, g.threads, 0, map_nest_kernel<Op, N, Y, X...>, op, n, nest, y, x...);
  }
}

template <class Op, class X, class Y> void map1(Op op, const X* x, Y* y, const Nest<2>& nest) {
  if constexpr (std::is_same_v<Op, formula::Same> && std::is_same_v<X, bf16>)  // a copy: bits, whatever they are
    map_any(std::index_sequence<0>{}, op, nest, reinterpret_cast<std::uint16_t*>(y),
            reinterpret_cast<const std::uint16_t*>(x));
  else
    map_any(std::index_sequence<0>{}, op, nest, y, x);
}
template <class Op, class A, class B, class Y> void map2(Op op, const A* a, const B* b, Y* y, const Nest<3>& nest) {
  map_any(std::index_sequence<0, 1>{}, op, nest, y, a, b);
}
template <class Op, class A, class B, class C, class Y>
void map3(Op op, const A* a, const B* b, const C* c, Y* y, const Nest<4>& nest) {
  map_any(std::index_sequence<0, 1, 2>{}, op, nest, y, a, b, c);
}

}  // namespace moegrad::cuda

// What the source files instantiate.
#define MOEGRAD_MAP1(OP, X, Y) template void map1(OP, const X*, Y*, const Nest<2>&);
#define MOEGRAD_MAP2(OP, A, B, Y) template void map2(OP, const A*, const B*, Y*, const Nest<3>&);
