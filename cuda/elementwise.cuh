// Elementwise kernels: the formulas of ops/ over the elements of broadcast or strided operands, as in ops/loops.h.
//
// Where rows are contiguous in every operand, or one number for the whole row, they are read and written 16 bytes at a
// time: dense tensors, and a bias beside them. Any other layout takes one element for each thread. The place of a pack
// or an element in every operand is worked out from its number.
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

// ---- any layout

template <class Op, int N, class Y, class... X>
__global__ void __launch_bounds__(kBlock) map_nest_kernel(Op op, i64 n, Nest<N> nest, Y* y, const X*... x) {
  for (i64 i = first_index(); i < n; i += grid_stride())
    map_element(op, y, Offsets<N>(nest, i), std::index_sequence_for<X...>{}, x...);
}

// ---- packs of V elements along the innermost axis

template <class T, int V> struct alignas(sizeof(T) * V) Pack { T element[V]; };

/// What a thread reads of an operand: V elements one after another, or V times the same one.
template <class T> struct Operand {
  const T* data;
  bool uniform;
  template <int V> __device__ Pack<T, V> load(i64 offset) const {
    if (!uniform) return *reinterpret_cast<const Pack<T, V>*>(data + offset);
    Pack<T, V> p;
    for (int k = 0; k < V; ++k) p.element[k] = data[offset];
    return p;
  }
};

template <int V, class Op, class Y, class... X>
__device__ inline void map_pack(const Op& op, Y* y, const Pack<X, V>&... x) {
  Pack<Y, V> result;
  for (int k = 0; k < V; ++k) result.element[k] = convert<Y>(op(value(x.element[k])...));
  *reinterpret_cast<Pack<Y, V>*>(y) = result;
}
template <int V, class Op, class Y, int N, std::size_t... K, class... X>
__device__ inline void map_packs_at(const Op& op, Y* y, const Offsets<N>& at, std::index_sequence<K...>,
                                    const Operand<X>&... x) {
  map_pack<V>(op, y + at.of[N - 1], x.template load<V>(at.of[K])...);
}

/// `packed` counts in packs along its innermost axis. The last few elements, which fill no pack (there are some only if
/// that axis is the only one), follow one by one, in `rest`.
template <int V, class Op, int N, class Y, class... X>
__global__ void __launch_bounds__(kBlock)
    map_packs_kernel(Op op, i64 packs, Nest<N> packed, i64 rest, Y* y, Operand<X>... x) {
  for (i64 p = first_index(); p < packs; p += grid_stride())
    map_packs_at<V>(op, y, Offsets<N>(packed, p), std::index_sequence_for<X...>{}, x...);
  const i64 i = packs * V + first_index();
  if (i < packs * V + rest) y[i] = convert<Y>(op(value(x.data[x.uniform ? 0 : i])...));
}

template <class... T> constexpr std::size_t largest_size() {
  std::size_t most = 0;
  ((most = sizeof(T) > most ? sizeof(T) : most), ...);
  return most;
}

/// True when operand k, a pointer, can be read in packs of V along the innermost axis.
template <int V, int N, class T> bool packs_fit(const Nest<N>& nest, int k, const T* p) {
  const int last = nest.rank - 1;
  if (nest.strides[k][last] == 0) return true;
  if (nest.strides[k][last] != 1 || reinterpret_cast<std::uintptr_t>(p) % (V * sizeof(T)) != 0) return false;
  for (int a = 0; a < last; ++a)
    if (nest.strides[k][a] % V != 0) return false;
  return true;
}

/// The nest in packs of V along its innermost axis.
template <int V, int N> Nest<N> in_packs(Nest<N> nest) {
  const int last = nest.rank - 1;
  nest.sizes[last] /= V;
  for (int k = 0; k < N; ++k) nest.strides[k][last] *= V;
  return nest;
}

template <std::size_t... K, class Op, int N, class Y, class... X>
void map_any(std::index_sequence<K...>, Op op, const Nest<N>& nest, Y* y, const X*... x) {
  constexpr int V = static_cast<int>(16 / largest_size<Y, X...>());
  const i64 n = nest.elements(), inner = nest.inner();
  if (n == 0) return;
  const bool in_order = nest.strides[N - 1][nest.rank - 1] == 1;  // y
  if (in_order && (nest.rank == 1 || inner % V == 0) && packs_fit<V>(nest, N - 1, y) &&
      (packs_fit<V>(nest, K, x) && ...)) {
    const i64 rest = nest.rank == 1 ? n % V : 0, packs = n / V;
    const Grid g = grid_for(std::max(packs, rest));
    launch("map", g.blocks, g.threads, 0, map_packs_kernel<V, Op, N, Y, X...>, op, packs, in_packs<V>(nest), rest, y,
           Operand<X>{x, nest.strides[K][nest.rank - 1] == 0}...);
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
#define MOEGRAD_MAP1_FLOATS(OP)    \
  MOEGRAD_MAP1(OP, float, float)   \
  MOEGRAD_MAP1(OP, double, double) \
  MOEGRAD_MAP1(OP, bf16, bf16)
#define MOEGRAD_MAP2_FLOATS(OP)            \
  MOEGRAD_MAP2(OP, float, float, float)    \
  MOEGRAD_MAP2(OP, double, double, double) \
  MOEGRAD_MAP2(OP, bf16, bf16, bf16)
