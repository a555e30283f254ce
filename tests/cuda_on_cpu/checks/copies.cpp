// Asynchronous copies: not there before the wait, gone for others from the start, and what is wrong with one.
#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "checks/check.h"

namespace {

int* shared_ints() { return static_cast<int*>(cuda_on_cpu::dynamic_shared()); }

// Every thread copies 16 bytes, in two groups of 8.
__global__ void two_groups_kernel(const int* x, int* y, int* early) {
  int *s = shared_ints() + threadIdx.x * 4, t = int(threadIdx.x);
  __pipeline_memcpy_async(s, x + t * 4, 8);
  __pipeline_commit();
  __pipeline_memcpy_async(s + 2, x + t * 4 + 2, 8);
  __pipeline_commit();
  early[t * 4] = s[0];
  __pipeline_wait_prior(1);
  early[t * 4 + 1] = s[1];
  early[t * 4 + 2] = s[2];
  __pipeline_wait_prior(0);
  early[t * 4 + 3] = s[3];
  for (int i = 0; i < 4; ++i) y[t * 4 + i] = s[i];
}
__global__ void zeros_kernel(const int* x, int* y) {
  int* s = shared_ints();
  __pipeline_memcpy_async(s, x, 16, 6);
  __pipeline_memcpy_async(s + 4, x + 1000000, 16, 16);  // reads nothing
  __pipeline_commit();
  __pipeline_wait_prior(0);
  for (int i = 0; i < 8; ++i) y[i] = s[i];
}
__global__ void not_committed_kernel(const int* x, int* y) {
  __pipeline_memcpy_async(shared_ints(), x, 4);
  __pipeline_wait_prior(0);
  y[blockIdx.x] = shared_ints()[0];
}
// Thread 0 overwrites what thread 1 has yet to read, unless there is a barrier.
template <bool kBarrier> __global__ void overwrite_kernel(const int* x, int* y) {
  int* s = shared_ints();
  if (threadIdx.x == 0) s[0] = 5;
  __syncthreads();
  if (threadIdx.x == 1) y[0] = s[0];
  if (kBarrier) __syncthreads();
  if (threadIdx.x == 0) {
    __pipeline_memcpy_async(s, x, 4);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    y[1] = s[0];
  }
}
__global__ void odd_size_kernel(const int* x) { __pipeline_memcpy_async(shared_ints(), x, 12); }
__global__ void odd_address_kernel(const int* x) { __pipeline_memcpy_async(shared_ints(), x + 1, 8); }

constexpr std::size_t kBytes = 1024;

}  // namespace

TEST_CASE("an asynchronous copy is there from the wait for its group on") {
  every_order([] {
    std::vector<int> x(32 * 4);
    for (int i = 0; i < 32 * 4; ++i) x[std::size_t(i)] = i;
    Array<int> from(x), to(32 * 4), early(32 * 4);
    ok(start({.shared = kBytes}, two_groups_kernel, from.p, to.p, early.p));
    CHECK(to.host() == x);
    const std::vector<int> seen = early.host();
    for (int t = 0; t < 32; ++t) {
      const auto* e = &seen[std::size_t(t) * 4];
      CHECK(std::vector<int>(e, e + 4) == std::vector<int>{-1, t * 4 + 1, -1, t * 4 + 3});
    }
  });
}

TEST_CASE("an asynchronous copy ends with zeros where it is told to, and reads nothing for them") {
  Array<int> x{0x01010101, 2, 0x01020304, 4}, y(8);
  ok(start({.block = 1, .shared = kBytes}, zeros_kernel, x.p, y.p));
  CHECK(y.host() == std::vector<int>{0x01010101, 2, 0x0304, 0, 0, 0, 0, 0});
}

TEST_CASE("a copy of no group is not waited for, and forgotten with its block") {
  Array<int> x{7}, y(2);
  ok(start({.grid = 2, .block = 1, .shared = kBytes}, not_committed_kernel, x.p, y.p));
  CHECK(y.host() == std::vector<int>{-1, -1});
}

TEST_CASE("an asynchronous copy overwrites from its beginning on") {
  every_order([] {
    Array<int> from{7}, to(2);
    ok(start({.shared = kBytes}, overwrite_kernel<true>, from.p, to.p));
    CHECK(to.host() == std::vector<int>{5, 7});
  });
  if (kTsan) return;
  const auto before = cuda_on_cpu::order();
  cuda_on_cpu::set_order(cuda_on_cpu::Order::forward);
  Array<int> x{7}, y(2);
  ok(start({.shared = kBytes}, overwrite_kernel<false>, x.p, y.p));
  CHECK(y.host()[0] != 5);
  cuda_on_cpu::set_order(before);
}

TEST_CASE("an asynchronous copy of a wrong size or address fails, and says where") {
  Array<int> x(8);
  const auto text = [&](void (*kernel)(const int*)) { return error_of(start({.shared = kBytes}, kernel, x.p)); };
  CHECK(contains(text(odd_size_kernel), "copies other than 4, 8 or 16 bytes, or more zeros than that, in "));
  CHECK(contains(text(odd_address_kernel), "copies from or to an address that is no multiple of the size in "));
  CHECK(contains(text(odd_address_kernel), "copies.cpp:"));
}
