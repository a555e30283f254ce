// Tiles of products in plain arithmetic.
//
// A block of 8 warps owns 128 x 128 results of f32, 8 x 8 for each thread (of f64 64 x 64 and 4 x 4), which stay in
// registers ("Benchmarking GPUs to tune dense linear algebra", 2008, doi:10.1109/SC.2008.5214359): for each row of a sum
// a thread reads 16 values (4 times 16 bytes) and makes 64 multiply-adds. The lanes of a warp form 4 rows of 8 threads,
// so that a warp reads 4 and 8 different packs of 16 bytes, each of which shared memory gives to all who ask for it at
// once.
#pragma once
#include "cuda/strips.cuh"

namespace moegrad::cuda {

template <class C> struct PlainTile {
  using Element = C;
  static constexpr int kThreads = 256, kBlocks = 2;      // a multiprocessor's blocks: at most 128 registers
  static constexpr int kFours = sizeof(C) == 4 ? 2 : 1;  // a thread has so many times four results in both directions
  static constexpr int kDown = 64 * kFours, kAcross = kDown;
  static constexpr int kDeep = 16, kPad = 0, kStages = 3;  // 48 KB of shared memory

  struct Sum {
    C value[4 * kFours][4 * kFours] = {};
  };
  /// The first of the thread's results; the next four are 16 further down, or 32 further across.
  __device__ static int down() { return warp_index() / 2 * 16 * kFours + lane_index() / 8 * 4; }
  __device__ static int across() { return warp_index() % 2 * 32 * kFours + lane_index() % 8 * 4; }

  /// to[0 .. 4 kFours) = four values from from[0] on, and four from from[kStep] on.
  template <int kStep> __device__ static void load(const C* from, C (&to)[4 * kFours]) {
    constexpr int V = kPack<C>;
#pragma unroll
    for (int i = 0; i < 4 * kFours; i += V) {
      const Pack<C, V> pack = *reinterpret_cast<const Pack<C, V>*>(from + i / 4 * kStep + i % 4);
#pragma unroll
      for (int v = 0; v < V; ++v) to[i + v] = pack.element[v];
    }
  }
  /// sum += x^T z
  __device__ static void add(Sum& sum, const C* x, const C* z) {
    x += down(), z += across();
#pragma unroll 8
    for (int k = 0; k < kDeep; ++k) {
      C a[4 * kFours], b[4 * kFours];
      load<16>(x + k * kStripPitch<PlainTile, kDown>, a);
      load<32>(z + k * kStripPitch<PlainTile, kAcross>, b);
#pragma unroll
      for (int i = 0; i < 4 * kFours; ++i)
#pragma unroll
        for (int j = 0; j < 4 * kFours; ++j) sum.value[i][j] += a[i] * b[j];
    }
  }

  /// to[r][c] = sum, for r < rows, c < columns, V neighbours at a time.
  template <int V> __device__ static void store(const Sum& sum, C* to, i64 stride, i64 rows, i64 columns, C*) {
#pragma unroll
    for (int i = 0; i < 4 * kFours; ++i) {
      const int r = down() + i / 4 * 16 + i % 4;
#pragma unroll
      for (int j = 0; j < 4 * kFours; j += V) {
        const int c = across() + j / 4 * 32 + j % 4;
        if (r >= rows || c >= columns) continue;
        Pack<C, V> pack;
#pragma unroll
        for (int v = 0; v < V; ++v) pack.element[v] = sum.value[i][j + v];
        store_pack(to + r * stride + c, pack);
      }
    }
  }
};

}  // namespace moegrad::cuda
