// Tiles of products on tensor cores: bf16, summed in f32, by the warp matrix functions of CUDA (mma.h; "Warp Matrix
// Functions" in NVIDIA's CUDA C++ Programming Guide). What is whose follows "Efficient GEMM in CUDA" (CUTLASS).
//
// 8 warps own 128 x 256 results, each 64 x 64 of them in 16 pieces of 16 x 16: 128 registers of every thread (of about
// 240), so there is one block on a multiprocessor. For 16 rows of a sum a warp reads 4 + 4 pieces of 16 x 16 (4 KB) and
// makes 131,072 operations of them: at 128 bytes a clock shared memory could feed 4096 operations a clock, which is all
// that the tensor cores of a multiprocessor can do. Rows of a strip lie 16 bytes further than a multiple of 128 from each
// other: 8 of them, read 16 bytes each, are in different banks.
//
// nvcc 13 loads a piece of __half from shared memory by one instruction (LDSM, which transposes), but a piece of bf16 by
// four and four that transpose. So pieces are loaded as __half, and their bits taken for bf16. That is right where lanes
// hold the same elements of both, which NVIDIA does not promise: every block asks first (alike), and else loads bf16.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include "cuda/strips.cuh"

namespace moegrad::cuda {

struct TensorTile {
  using Element = bf16;
  static constexpr int kThreads = 256, kBlocks = 1;        // a multiprocessor's blocks
  static constexpr int kDown = 128, kAcross = 256;         // results
  static constexpr int kDeep = 32, kPad = 8, kStages = 3;  // 75 KB of shared memory: fits where there are 99
  static constexpr int kPiece = 16, kPieces = 4, kOfWarp = kPieces * kPiece;

  using Bf16 = __nv_bfloat16;
  template <class T>
  using A = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, kPiece, kPiece, kPiece, T, nvcuda::wmma::col_major>;
  template <class T>
  using B = nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, kPiece, kPiece, kPiece, T, nvcuda::wmma::row_major>;

  /// The results of a warp; which lane holds which of them only the functions of mma.h know.
  struct Sum {
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kPiece, kPiece, kPiece, float> piece[kPieces][kPieces];
    bool as_half;
    __device__ explicit Sum(bf16* scratch) : as_half(alike(scratch + warp_index() * kPiece * kPiece)) {
      for (auto& row : piece)
        for (auto& p : row) nvcuda::wmma::fill_fragment(p, 0.0f);
    }
  };
  __device__ static int down() { return warp_index() / (kAcross / kOfWarp) * kOfWarp; }
  __device__ static int across() { return warp_index() % (kAcross / kOfWarp) * kOfWarp; }

  template <class T, class Fragment> __device__ static void load(Fragment& to, const bf16* from, unsigned pitch) {
    nvcuda::wmma::load_matrix_sync(to, reinterpret_cast<const T*>(from), pitch);
  }
  __device__ static bool same_bits(Bf16 a, __half b) { return __bfloat16_as_ushort(a) == __half_as_ushort(b); }
  /// Whether the lanes of the warp get the same elements of a piece as __half and as bf16.
  __device__ static bool alike(bf16* scratch) {
    for (int i = lane_index(); i < kPiece * kPiece; i += kWarp) scratch[i].bits = static_cast<std::uint16_t>(i);
    __syncwarp();
    A<Bf16> a;
    B<Bf16> b;
    A<__half> a_half;
    B<__half> b_half;
    load<Bf16>(a, scratch, kPiece), load<__half>(a_half, scratch, kPiece);
    load<Bf16>(b, scratch, kPiece), load<__half>(b_half, scratch, kPiece);
    bool same = a_half.num_elements >= a.num_elements && b_half.num_elements >= b.num_elements;
#pragma unroll
    for (int e = 0; e < a.num_elements; ++e) same &= same_bits(a.x[e], a_half.x[e]);
#pragma unroll
    for (int e = 0; e < b.num_elements; ++e) same &= same_bits(b.x[e], b_half.x[e]);
    return __all_sync(kAllLanes, same);
  }
  template <class Half, class Fragment>
  __device__ static void load_as_half(Fragment& to, const bf16* from, unsigned pitch) {
    Half piece;
    load<__half>(piece, from, pitch);
#pragma unroll
    for (int e = 0; e < to.num_elements; ++e) to.x[e] = __ushort_as_bfloat16(__half_as_ushort(piece.x[e]));
  }

  /// sum += x^T z. The strip of x has a row for each row of the sum: x^T by columns.
  __device__ static void add(Sum& sum, const bf16* x, const bf16* z) {
    sum.as_half ? add<true>(sum, x + down(), z + across()) : add<false>(sum, x + down(), z + across());
  }
  template <bool kAsHalf> __device__ static void add(Sum& sum, const bf16* x, const bf16* z) {
    constexpr unsigned kPitchX = kStripPitch<TensorTile, kDown>, kPitchZ = kStripPitch<TensorTile, kAcross>;
#pragma unroll
    for (int k = 0; k < kDeep; k += kPiece, x += kPiece * kPitchX, z += kPiece * kPitchZ) {
      A<Bf16> a[kPieces];
      B<Bf16> b[kPieces];
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        if constexpr (kAsHalf) {
          load_as_half<A<__half>>(a[i], x + i * kPiece, kPitchX);
          load_as_half<B<__half>>(b[i], z + i * kPiece, kPitchZ);
        } else {
          load<Bf16>(a[i], x + i * kPiece, kPitchX);
          load<Bf16>(b[i], z + i * kPiece, kPitchZ);
        }
      }
#pragma unroll
      for (int i = 0; i < kPieces; ++i)
#pragma unroll
        for (int j = 0; j < kPieces; ++j) nvcuda::wmma::mma_sync(sum.piece[i][j], a[i], b[j], sum.piece[i][j]);
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
