// How kernels are started: one function, in ordinary C++ syntax, that nvcc and a host compiler read alike.
#pragma once
#include <algorithm>
#include <utility>

#include "cuda/runtime.h"

namespace moegrad::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kBlock = 256;  // threads of a block, where a kernel has no wish of its own

/// Starts kernel(args...) on a grid; `name` is what an error calls it. No block: nothing to do.
///   shared  bytes of dynamic shared memory (dynamic_shared<T>()), beside what the kernel declares
template <class... P, class... A>
void launch(const char* name, dim3 grid, dim3 block, std::size_t shared, void (*kernel)(P...), A&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared > 48 * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          name);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream();
  check(cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...), name);
}

/// Blocks and threads for n elements, `per_thread` of them for each thread: no more blocks than fill the device a few
/// times, so kernels loop (`for (i64 i = first_index(); i < n; i += grid_stride())`), and no more threads than
/// elements.
struct Grid {
  dim3 blocks, threads;
};
inline Grid grid_for(i64 n, i64 per_thread = 1, int most_threads = kBlock) {
  const i64 wanted = (n + per_thread - 1) / per_thread;
  const i64 threads = std::clamp<i64>((wanted + kWarp - 1) / kWarp * kWarp, kWarp, most_threads);
  const i64 blocks = std::min<i64>((wanted + threads - 1) / threads, i64{16} * multiprocessors());
  return {dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads))};
}
/// Blocks for `rows` rows with one block (or warp, ..) each: kernels loop over rows by gridDim.x.
inline dim3 blocks_for(i64 rows) { return dim3(static_cast<unsigned>(std::min<i64>(rows, i64{1} << 20))); }
/// Threads of a block that works on `n` elements together: a whole number of warps.
inline dim3 threads_for(i64 n, int most = kBlock) {
  return dim3(static_cast<unsigned>(std::clamp<i64>((n + kWarp - 1) / kWarp * kWarp, kWarp, most)));
}

__device__ inline i64 first_index() { return i64{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline i64 grid_stride() { return i64{gridDim.x} * blockDim.x; }

/// Dynamic shared memory of the block: the same bytes for every T, at a multiple of 32 as matrix functions ask for.
template <class T> __device__ T* dynamic_shared() {
#ifdef CUDA_ON_CPU
  return static_cast<T*>(cuda_on_cpu::dynamic_shared());
#else
  extern __shared__ __align__(32) unsigned char moegrad_dynamic_shared[];
  return reinterpret_cast<T*>(moegrad_dynamic_shared);
#endif
}

}  // namespace moegrad::cuda
