// Warp matrix functions: their values in every layout, their rules, and missing synchronisation around them.
#include <mma.h>

#include <algorithm>
#include <cmath>

#include "checks/check.h"

namespace {

namespace wmma = nvcuda::wmma;
using Sum = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
template <class Layout> using A = wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, Layout>;
template <class Layout> using B = wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, Layout>;

constexpr unsigned kPitch = 24;

// y = 2 a b + 1: two products, one after the other.
template <class LayoutA, class LayoutB>
__global__ void product_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* y, wmma::layout_t layout) {
  A<LayoutA> left;
  B<LayoutB> right;
  Sum sum;
  wmma::fill_fragment(sum, 1.0f);
  wmma::load_matrix_sync(left, a, kPitch);
  wmma::load_matrix_sync(right, b, kPitch);
  wmma::mma_sync(sum, left, right, sum);
  wmma::mma_sync(sum, left, right, sum);
  wmma::store_matrix_sync(y + blockIdx.x * 320, sum, 20, layout);
}

float value(int i, int j) { return float((i * 7 + j * 3) % 11 - 5) / 4; }
__nv_bfloat16 stored(float v) { return {static_cast<unsigned short>(__float_as_uint(v) >> 16)}; }
std::vector<__nv_bfloat16> matrix(bool by_rows) {
  std::vector<__nv_bfloat16> m(16 * kPitch, stored(NAN));
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j)
      m[std::size_t(by_rows ? i * int(kPitch) + j : j * int(kPitch) + i)] = stored(value(i, j));
  return m;
}
float expected(int i, int j) {
  float sum = 0;
  for (int k = 0; k < 16; ++k) sum += value(i, k) * value(k, j);
  return 2 * sum + 1;
}

template <class LayoutA, class LayoutB> void check_product() {
  const Array<__nv_bfloat16> a(matrix(std::is_same_v<LayoutA, wmma::row_major>)),
      b(matrix(std::is_same_v<LayoutB, wmma::row_major>));
  for (const auto layout : {wmma::mem_row_major, wmma::mem_col_major}) {
    Array<float> y(2 * 16 * 20);
    ok(start({.grid = 2, .block = 32}, product_kernel<LayoutA, LayoutB>, a.p, b.p, y.p, layout));
    const auto got = y.host();
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 16; ++j)
        CHECK(got[320 + std::size_t(layout == wmma::mem_row_major ? i * 20 + j : j * 20 + i)] == expected(i, j));
  }
}

__global__ void load_at_kernel(const __nv_bfloat16* a, int offset, unsigned pitch) {
  A<wmma::row_major> left;
  wmma::load_matrix_sync(left, a + offset, pitch);
}
__global__ void store_at_kernel(float* y, int offset, unsigned pitch) {
  Sum sum;
  wmma::fill_fragment(sum, 0.0f);
  wmma::store_matrix_sync(y + offset, sum, pitch, wmma::mem_row_major);
}
__global__ void half_a_warp_kernel(const __nv_bfloat16* a) {
  A<wmma::row_major> left;
  if (threadIdx.x < 16) wmma::load_matrix_sync(left, a, 16);
}
__global__ void two_matrices_kernel(const __nv_bfloat16* a) {
  A<wmma::row_major> left;
  wmma::load_matrix_sync(left, a + (threadIdx.x < 16 ? 0 : 16), 16);
}
__global__ void branch_kernel(const __nv_bfloat16* a) {
  A<wmma::row_major> left;
  if (threadIdx.x < 16)
    wmma::load_matrix_sync(left, a, 16);
  else
    __syncwarp(0xffff0000u);
}

// Lanes write a matrix of ones, which all of them load; then lanes read what all of them have stored.
template <bool kSync> __global__ void load_kernel(float* y) {
  auto* s = static_cast<__nv_bfloat16*>(cuda_on_cpu::dynamic_shared());
  for (int i = int(threadIdx.x); i < 256; i += 32) s[i] = {0x3f80};
  if (kSync) __syncwarp();
  A<wmma::row_major> left;
  B<wmma::row_major> right;
  Sum sum;
  wmma::fill_fragment(sum, 0.0f);
  wmma::load_matrix_sync(left, s, 16);
  wmma::load_matrix_sync(right, s, 16);
  wmma::mma_sync(sum, left, right, sum);
  wmma::store_matrix_sync(y, sum, 16, wmma::mem_row_major);
}
template <bool kSync> __global__ void store_kernel(float* y) {
  auto* s = static_cast<float*>(cuda_on_cpu::dynamic_shared());
  Sum sum;
  wmma::fill_fragment(sum, 16.0f);
  wmma::store_matrix_sync(s, sum, 16, wmma::mem_row_major);
  if (kSync) __syncwarp();
  for (int i = int(threadIdx.x); i < 256; i += 32) y[i] = s[i];
}
bool all_16(void (*kernel)(float*)) {
  Array<float> y(256);
  ok(start({.shared = 1024}, kernel, y.p));
  const auto got = y.host();
  return std::all_of(got.begin(), got.end(), [](float v) { return v == 16; });
}

}  // namespace

TEST_CASE("products of 16 x 16 bf16 matrices, in every layout") {
  every_order([] {
    check_product<wmma::row_major, wmma::row_major>();
    check_product<wmma::row_major, wmma::col_major>();
    check_product<wmma::col_major, wmma::row_major>();
    check_product<wmma::col_major, wmma::col_major>();
  });
}

TEST_CASE("a matrix begins at a multiple of 32 bytes, and has rows a multiple of 16 bytes apart") {
  const Array<__nv_bfloat16> a(1024);
  const Array<float> y(1024);
  const auto load = [&](int offset, unsigned pitch) { return error_of(start({}, load_at_kernel, a.p, offset, pitch)); };
  const auto store = [&](int offset, unsigned pitch) {
    return error_of(start({}, store_at_kernel, y.p, offset, pitch));
  };
  CHECK(load(16, 24).empty());
  CHECK(contains(load(8, 16), "names a matrix that does not begin at a multiple of 32 bytes in "));
  CHECK(contains(load(0, 20), "names a matrix whose rows are not a multiple of 16 bytes apart in "));
  CHECK(contains(load(0, 20), "matrices.cpp:"));
  CHECK(store(8, 20).empty());
  CHECK(contains(store(4, 16), "multiple of 32 bytes"));
  CHECK(contains(store(0, 18), "multiple of 16 bytes apart"));
}

TEST_CASE("all lanes of a warp take part in a matrix function, with the same matrix") {
  every_order([] {
    const Array<__nv_bfloat16> a(1024);
    const auto text = [&](void (*kernel)(const __nv_bfloat16*), unsigned threads) {
      return error_of(start({.block = threads}, kernel, a.p));
    };
    CHECK(contains(text(half_a_warp_kernel, 32), "meets lanes that have another matrix, or not all of its warp, in "));
    CHECK(contains(text(half_a_warp_kernel, 16), "meets lanes that have another matrix, or not all of its warp, in "));
    CHECK(contains(text(two_matrices_kernel, 32), "meets lanes that have another matrix, or not all of its warp, in "));
    CHECK(contains(text(branch_kernel, 32), "meets lanes that have another matrix, or not all of its warp, in "));
  });
}

TEST_CASE("matrix functions do not order what lanes write and read") {
  every_order([] {
    CHECK(all_16(load_kernel<true>));
    CHECK(all_16(store_kernel<true>));
    if (kTsan) return;
    CHECK_FALSE(all_16(load_kernel<false>));
    CHECK_FALSE(all_16(store_kernel<false>));
  });
}
