// Tiles of products on tensor cores: bf16, summed in f32, by the warp matrix functions of CUDA (mma.h; "Warp Matrix
// Functions" in NVIDIA's CUDA C++ Programming Guide). What is whose follows "Efficient GEMM in CUDA" (CUTLASS).
//
// 8 warps own 128 x 256 results, each 64 x 64 of them in 16 pieces of 16 x 16: 128 registers of every thread (of about
// 240), so there is one block on a multiprocessor. For 16 rows of a sum a warp reads 4 + 4 pieces of 16 x 16 (4 KB) and
// makes 131,072 operations of them: at 128 bytes a clock shared memory could feed 4096 operations a clock, which is all
// that the tensor cores of a multiprocessor can do. Rows of a strip lie 16 bytes further than a multiple of 128 from each
// other: 8 of them, read 16 bytes each, are in different banks.
//
// nvcc 13 loads a piece of bf16 by four instructions and four that transpose, a piece of __half by one. Loading __half and
// taking its bits for bf16 made a layer that spends half its time here 9 % faster on an H200, but rests on lanes holding
// the same elements of both, which NVIDIA does not promise: not done.
#pragma once
#include <cuda_bf16.h>
#include <mma.h>

#include "cuda/strips.cuh"

namespace moegrad::cuda {

struct TensorTile {
  using Element = bf16;
  static constexpr int kThreads = 256, kBlocks = 1;        // a multiprocessor's blocks
  static constexpr int kDown = 128, kAcross = 256;         // results
  static constexpr int kDeep = 32, kPad = 8, kStages = 3;  // 75 KB of shared memory: fits where there are 99
  static constexpr int kPiece = 16, kPieces = 4, kOfWarp = kPieces * kPiece;

  /// The results of a warp; which lane holds which of them only the functions of mma.h know.
  struct Sum {
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kPiece, kPiece, kPiece, float> piece[kPieces][kPieces];
    __device__ Sum() {
      for (auto& row : piece)
        for (auto& p : row) nvcuda::wmma::fill_fragment(p, 0.0f);
    }
  };
  __device__ static int down() { return warp_index() / (kAcross / kOfWarp) * kOfWarp; }
  __device__ static int across() { return warp_index() % (kAcross / kOfWarp) * kOfWarp; }

  __device__ static const __nv_bfloat16* as_nvidias(const bf16* p) { return reinterpret_cast<const __nv_bfloat16*>(p); }

  /// sum += x^T z. The strip of x has a row for each row of the sum: x^T by columns.
  __device__ static void add(Sum& sum, const bf16* x, const bf16* z) {
    namespace wmma = nvcuda::wmma;
    constexpr unsigned kPitchX = kStripPitch<TensorTile, kDown>, kPitchZ = kStripPitch<TensorTile, kAcross>;
    const __nv_bfloat16 *a_at = as_nvidias(x + down()), *b_at = as_nvidias(z + across());
#pragma unroll
    for (unsigned k = 0; k < kDeep; k += kPiece) {
      wmma::fragment<wmma::matrix_a, kPiece, kPiece, kPiece, __nv_bfloat16, wmma::col_major> a[kPieces];
      wmma::fragment<wmma::matrix_b, kPiece, kPiece, kPiece, __nv_bfloat16, wmma::row_major> b[kPieces];
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        wmma::load_matrix_sync(a[i], a_at + k * kPitchX + i * kPiece, kPitchX);
        wmma::load_matrix_sync(b[i], b_at + k * kPitchZ + i * kPiece, kPitchZ);
      }
#pragma unroll
      for (int i = 0; i < kPieces; ++i)
#pragma unroll
        for (int j = 0; j < kPieces; ++j) wmma::mma_sync(sum.piece[i][j], a[i], b[j], sum.piece[i][j]);
    }
  }

  /// to[r][c] = sum, for r < rows, c < columns, V neighbours at a time; by way of `scratch`, which nobody else uses.
  template <int V>
  __device__ static void store(const Sum& sum, bf16* to, i64 stride, i64 rows, i64 columns, bf16* scratch) {
    constexpr int kPitch = kOfWarp + 4;
    static_assert(kThreads / kWarp * kPiece * kPitch * sizeof(float) <= kRingBytes<TensorTile>);
    float* mine = reinterpret_cast<float*>(scratch) + warp_index() * kPiece * kPitch;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
#pragma unroll
      for (int j = 0; j < kPieces; ++j)
        nvcuda::wmma::store_matrix_sync(mine + j * kPiece, sum.piece[i][j], kPitch, nvcuda::wmma::mem_row_major);
      __syncwarp();
      for (int at = lane_index() * V; at < kPiece * kOfWarp; at += kWarp * V) {
        const int r = down() + i * kPiece + at / kOfWarp, c = across() + at % kOfWarp;
        if (r >= rows || c >= columns) continue;
        Pack<bf16, V> pack;
#pragma unroll
        for (int v = 0; v < V; ++v) pack.element[v] = bf16(mine[at / kOfWarp * kPitch + at % kOfWarp + v]);
        store_pack(to + r * stride + c, pack);
      }
      __syncwarp();
    }
  }
};

}  // namespace moegrad::cuda
