// Warp matrix functions, for bf16 with sums in f32, 16 x 16 x 16.
//
// Each lane holds 8 elements of a matrix, in x[]; which, a kernel must not rely on, and for __half it depends: in the
// order `reverse` they are not those that it holds of bf16. A lane reads its elements before it waits for its warp, and
// writes those of a result after that, so that a missing __syncwarp() on either side is noticed. Products are exact, and
// added one after the other in f32 (a GPU adds them in an order, and with a precision, that NVIDIA does not say).
#pragma once
#include <cstdint>
#include <cstring>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

namespace cuda_on_cpu {

/// A lane's elements of a 16 x 16 matrix, kCount of T (the last ones once more where there are more than 8).
template <class T, int kCount> struct Elements {
  static constexpr int num_elements = kCount;
  T x[kCount];
};
struct Place {
  unsigned row, column;
};
template <class T> Place place_of(int i) {
  const unsigned l = unsigned(lane()), e = unsigned(i) % 8;
  const bool otherwise = std::is_same_v<T, __half> && order() == Order::reverse;
  return otherwise ? Place{l % 16, e * 2 + l / 16} : Place{l / 2, l % 2 * 8 + e};
}

/// The bits of both factors of each warp, while its lanes multiply. ThreadSanitizer is not to see who writes them.
struct Factors {
  unsigned short a[32][8], b[32][8];
};
inline Factors factors[32];
inline Factors& factors_of_warp() {
  return factors[(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) / 32];
}
inline void copy_bits(void* to, const void* from, std::size_t bytes) {
#ifdef __SANITIZE_THREAD__
  copy_unseen(to, from, bytes);
#else
  std::memcpy(to, from, bytes);
#endif
}
inline float factor(const unsigned short (&m)[32][8], unsigned row, unsigned column) {
  return __uint_as_float(unsigned{m[row * 2 + column / 8][column % 8]} << 16);
}

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

template <class Layout>
class fragment<matrix_a, 16, 16, 16, __nv_bfloat16, Layout> : public cuda_on_cpu::Elements<__nv_bfloat16, 8> {};
template <class Layout>
class fragment<matrix_b, 16, 16, 16, __nv_bfloat16, Layout> : public cuda_on_cpu::Elements<__nv_bfloat16, 8> {};
template <class Layout>
class fragment<matrix_a, 16, 16, 16, __half, Layout> : public cuda_on_cpu::Elements<__half, 16> {};
template <class Layout>
class fragment<matrix_b, 16, 16, 16, __half, Layout> : public cuda_on_cpu::Elements<__half, 16> {};
template <> class fragment<accumulator, 16, 16, 16, float, void> : public cuda_on_cpu::Elements<float, 8> {};

template <class Use, class T, class Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& to, const std::type_identity_t<T>* from, unsigned pitch,
                      cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::check_matrix(from, pitch, 8, at);
  for (int i = 0; i < to.num_elements; ++i) {
    const cuda_on_cpu::Place p = cuda_on_cpu::place_of<T>(i);
    const T* element = from + (std::is_same_v<Layout, row_major> ? p.row * pitch + p.column : p.column * pitch + p.row);
    std::memcpy(&to.x[i], element, sizeof(T));
  }
  cuda_on_cpu::meet(from, pitch, at);
}
inline void fill_fragment(fragment<accumulator, 16, 16, 16, float>& f, float v) {
  for (float& x : f.x) x = v;
}
/// d = a b + c
template <class A, class B>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d, const fragment<matrix_a, 16, 16, 16, __nv_bfloat16, A>& a,
              const fragment<matrix_b, 16, 16, 16, __nv_bfloat16, B>& b,
              const fragment<accumulator, 16, 16, 16, float>& c, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::Factors &of_warp = cuda_on_cpu::factors_of_warp(), all;
  cuda_on_cpu::copy_bits(of_warp.a[cuda_on_cpu::lane()], a.x, sizeof a.x);
  cuda_on_cpu::copy_bits(of_warp.b[cuda_on_cpu::lane()], b.x, sizeof b.x);
  cuda_on_cpu::meet(nullptr, 0, at);
  cuda_on_cpu::copy_bits(&all, &of_warp, sizeof all);
  const cuda_on_cpu::Place first = cuda_on_cpu::place_of<float>(0);  // of 8 in a row
  for (unsigned j = 0; j < 8; ++j) {
    float sum = c.x[j];
    for (unsigned k = 0; k < 16; ++k)
      sum += cuda_on_cpu::factor(all.a, first.row, k) * cuda_on_cpu::factor(all.b, k, first.column + j);
    d.x[j] = sum;
  }
  cuda_on_cpu::meet(nullptr, 1, at);
}
inline void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, 16, float>& from, unsigned pitch,
                              layout_t layout, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::check_matrix(to, pitch, 4, at);
  cuda_on_cpu::meet(to, pitch, at);
  for (int i = 0; i < from.num_elements; ++i) {
    const cuda_on_cpu::Place p = cuda_on_cpu::place_of<float>(i);
    to[layout == mem_row_major ? p.row * pitch + p.column : p.column * pitch + p.row] = from.x[i];
  }
}

}  // namespace nvcuda::wmma
