// How threads are shared out among rows [rows, n] and columns [outer, n, inner].
//
// A row belongs to a team: 1, 2, 4, .. or 32 neighbouring lanes where rows are short, so that a warp reads several rows
// at once, else the whole block. Columns belong to blocks of `width` columns side by side times `groups` of threads that
// share the rows of each.
#pragma once
#include "cuda/elementwise.cuh"
#include "cuda/reduce.cuh"

namespace moegrad::cuda {

inline constexpr int kWidest = 1024;  // threads of a block
inline constexpr int kPerThread = 8;  // elements of a row that a thread keeps in registers
inline constexpr i64 kEnough = 1024;  // blocks that fill a device: a constant, so that bits do not depend on the device
inline constexpr i64 kRowInRegisters = i64{kWidest} * kPerThread;

struct Plus {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};

inline int power_of_two_from(i64 n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}
inline i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

// ---- rows

struct Team {
  int size;
  __device__ int rank() const { return static_cast<int>(threadIdx.x) % size; }
  __device__ int number() const { return static_cast<int>(threadIdx.x) / size; }
  __device__ int count() const { return static_cast<int>(blockDim.x) / size; }

  /// op over the team: every thread gets the result. All threads of the block must call it.
  template <class T, class Op> __device__ T reduce(T v, Op op, T identity) const {
    if (size > kWarp) return block_reduce(v, op, identity);
    for (int by = 1; by < size; by *= 2) {
      const T other = shuffle_xor(v, by);
      v = (threadIdx.x & by) ? op(other, v) : op(v, other);
    }
    return v;
  }
};

/// Teams for rows of n elements, of which a thread is to take about per_thread.
struct RowGrid {
  Team team;
  dim3 blocks, threads;
};
inline RowGrid rows_grid(i64 rows, i64 n, i64 per_thread, int most_threads = kWidest) {
  const i64 wanted = ceil_div(n, per_thread);
  if (wanted > kWarp) {
    const dim3 threads = threads_for(wanted, most_threads);
    return {{static_cast<int>(threads.x)}, blocks_for(rows), threads};
  }
  const int size = power_of_two_from(wanted);
  const dim3 threads = threads_for(std::min<i64>(rows, kBlock) * size);
  return {{size}, blocks_for(ceil_div(rows, threads.x / static_cast<unsigned>(size))), threads};
}

/// Elements that one load takes, of rows whose first elements are multiples of `step` apart: 16 bytes, or 1.
template <class T> inline constexpr int kPack = static_cast<int>(16 / sizeof(T));
inline bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }
template <class... T> bool in_packs(i64 n, const T*... p) {
  return ((n % kPack<T> == 0 && aligned(p)) && ...);  // a null pointer is aligned
}

/// The elements of a row that one thread of a team keeps: K packs of V, a team's width apart. n is a multiple of V.
template <class F, int V, int K> struct RowPart {
  F at[K][V];
  static __device__ i64 index(Team team, int k) { return (i64{k} * team.size + team.rank()) * V; }

  template <class X> __device__ void load(const X* row, i64 n, Team team, F filler) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const i64 i = index(team, k);
      if (i < n) {
        const Pack<X, V> pack = *reinterpret_cast<const Pack<X, V>*>(row + i);
#pragma unroll
        for (int v = 0; v < V; ++v) at[k][v] = value(pack.element[v]);
      } else {
#pragma unroll
        for (int v = 0; v < V; ++v) at[k][v] = filler;
      }
    }
  }
  template <class Y> __device__ void store(Y* row, i64 n, Team team) const {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const i64 i = index(team, k);
      if (i >= n) continue;
      Pack<Y, V> pack;
#pragma unroll
      for (int v = 0; v < V; ++v) pack.element[v] = convert<Y>(at[k][v]);
      *reinterpret_cast<Pack<Y, V>*>(row + i) = pack;
    }
  }
};

/// Calls launch_with.operator()<V, K>() for a RowPart<F, V, K> that fits rows of n elements stored as X.
template <class X, class Fn> void with_row_part(i64 n, bool packs, const Fn& launch_with) {
  constexpr int V = kPack<X>;
  if (packs && n <= V * kWarp)
    launch_with.template operator()<V, 1>();
  else if (packs)
    launch_with.template operator()<V, kPerThread / V>();
  else if (n <= kWarp)
    launch_with.template operator()<1, 1>();
  else
    launch_with.template operator()<1, kPerThread>();
}

// ---- columns

struct Columns {
  int width;  // a power of two, as is the number of threads
  __device__ int column() const { return static_cast<int>(threadIdx.x) % width; }
  __device__ int group() const { return static_cast<int>(threadIdx.x) / width; }
  __device__ int groups() const { return static_cast<int>(blockDim.x) / width; }

  /// op over the groups of each column, in a fixed tree: every thread gets the result of its column.
  template <class T, class Op> __device__ T reduce(T v, Op op) const {
    __shared__ T shared[kWidest];
    if (groups() == 1) return v;
    const int t = static_cast<int>(threadIdx.x);
    __syncthreads();  // others may still read what the call before left
    shared[t] = v;
    for (int half = static_cast<int>(blockDim.x) / 2; half >= width; half /= 2) {
      __syncthreads();
      if (t < half) shared[t] = op(shared[t], shared[t + half]);
    }
    __syncthreads();
    return shared[t % width];
  }
};

/// Threads for columns of n elements each, of which one is to take about per_thread.
struct ColumnGrid {
  Columns columns;
  i64 tiles;  // blocks side by side
  dim3 threads;
};
inline ColumnGrid columns_grid(i64 n, i64 inner, i64 per_thread, int most_threads = kBlock) {
  const int width = power_of_two_from(std::min<i64>(inner, kWarp));
  const int groups = power_of_two_from(std::min<i64>(ceil_div(n, per_thread), most_threads / width));
  return {{width}, ceil_div(inner, width), dim3(static_cast<unsigned>(std::max(width * groups, kWarp)))};
}

}  // namespace moegrad::cuda
