// Warp matrix functions, for bf16 with sums in f32, 16 x 16 x 16.
//
// Each lane holds both factors whole, and 8 elements of the sum; which, is its own business: there is no x[] to read
// them by. A lane reads its factors before it waits for its warp, and writes its part of a result after that, so that
// a missing __syncwarp() on either side is noticed. Products are exact, and added one after the other in f32 (a GPU
// adds them in an order, and with a precision, that NVIDIA does not say).
#pragma once
#include <cstdint>
#include <cstring>

#include "cuda_bf16.h"
#include "cuda_runtime.h"

namespace cuda_on_cpu {

struct Factor {
  float element[16][16];  // [row][column]
};

/// All lanes of the warp come to the same call with the same matrix, or the launch fails.
inline void meet(const void* matrix, unsigned pitch, Here at) {
  const std::uint64_t same = (reinterpret_cast<std::uintptr_t>(matrix) * 8191 + pitch) * 65521 + at.line;
  if (exchange(Exchange::agree, ~0u, same, 0, at) == 0)
    refuse("meets lanes that have another matrix, or not all of its warp,", at);
}
/// Rows must be a multiple of `step` elements apart.
inline void check_matrix(const void* matrix, unsigned pitch, unsigned step, Here at) {
  if (reinterpret_cast<std::uintptr_t>(matrix) % 32 != 0)
    refuse("names a matrix that does not begin at a multiple of 32 bytes", at);
  if (pitch % step != 0) refuse("names a matrix whose rows are not a multiple of 16 bytes apart", at);
}

}  // namespace cuda_on_cpu

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void> class fragment;

template <class Layout> class fragment<matrix_a, 16, 16, 16, __nv_bfloat16, Layout> : public cuda_on_cpu::Factor {};
template <class Layout> class fragment<matrix_b, 16, 16, 16, __nv_bfloat16, Layout> : public cuda_on_cpu::Factor {};
template <> class fragment<accumulator, 16, 16, 16, float, void> {
 public:
  float part[8];  // of row lane / 2, from column lane % 2 * 8 on
};

template <class Use, class Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, __nv_bfloat16, Layout>& to, const __nv_bfloat16* from, unsigned pitch,
                      cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  constexpr bool kByRows = std::is_same_v<Layout, row_major>;
  cuda_on_cpu::check_matrix(from, pitch, 8, at);
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < 16; ++j) {
      unsigned short bits;
      std::memcpy(&bits, from + i * pitch + j, sizeof bits);
      (kByRows ? to.element[i][j] : to.element[j][i]) = __uint_as_float(unsigned{bits} << 16);
    }
  cuda_on_cpu::meet(from, pitch, at);
}
inline void fill_fragment(fragment<accumulator, 16, 16, 16, float>& f, float v) {
  for (float& part : f.part) part = v;
}
/// d = a b + c
template <class A, class B>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d, const fragment<matrix_a, 16, 16, 16, __nv_bfloat16, A>& a,
              const fragment<matrix_b, 16, 16, 16, __nv_bfloat16, B>& b,
              const fragment<accumulator, 16, 16, 16, float>& c, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  const int row = cuda_on_cpu::lane() / 2, column = cuda_on_cpu::lane() % 2 * 8;
  float sum[8];
  for (int j = 0; j < 8; ++j) sum[j] = c.part[j];
  for (int k = 0; k < 16; ++k)
    for (int j = 0; j < 8; ++j) sum[j] += a.element[row][k] * b.element[k][column + j];
  for (int j = 0; j < 8; ++j) d.part[j] = sum[j];
  cuda_on_cpu::meet(nullptr, 0, at);
}
inline void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, 16, float>& from, unsigned pitch,
                              layout_t layout, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::check_matrix(to, pitch, 4, at);
  cuda_on_cpu::meet(to, pitch, at);
  const unsigned row = unsigned(cuda_on_cpu::lane()) / 2, column = unsigned(cuda_on_cpu::lane()) % 2 * 8;
  for (unsigned j = 0; j < 8; ++j)
    to[layout == mem_row_major ? row * pitch + column + j : (column + j) * pitch + row] = from.part[j];
}

}  // namespace nvcuda::wmma
