// Races between threads, which ThreadSanitizer reports: inside a block and between blocks. In other builds only that the
// kernels run. All in copies of this process, which must not have run kernels itself: see CMakeLists.txt.
#include "checks/check.h"

namespace {

constexpr int kLine = __LINE__;
__global__ void missing_barrier_kernel(int* y) {
  __shared__ int s[64];
  s[threadIdx.x] = int(threadIdx.x);
  y[blockIdx.x * blockDim.x + threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void missing_syncwarp_kernel(int* y) {
  auto* s = static_cast<int*>(cuda_on_cpu::dynamic_shared());
  s[threadIdx.x] = 1;
  y[blockIdx.x * blockDim.x + threadIdx.x] = __shfl_sync(~0u, s[threadIdx.x ^ 1], 0);
}
__global__ void plain_add_kernel(int* y) { *y += 1; }
__global__ void add_of_blocks_kernel(int* y) {
  if (threadIdx.x == 0) y[0] += 1;
}
__global__ void plain_and_atomic_kernel(int* y) {
  __shared__ int s[1];
  if (threadIdx.x == 0) s[0] = 0;
  atomicAdd(s, 1);
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = s[0];
}
__global__ void after_barrier_kernel(int* y) {  // each block reads what the one before it may not have written yet
  __syncthreads();
  if (blockIdx.x > 0) y[blockIdx.x * blockDim.x + threadIdx.x] = y[(blockIdx.x - 1) * blockDim.x];
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x * blockDim.x] = 1;
}

// No races: all that a kernel may rely on.
__global__ void clean_kernel(int* y, int* sum) {
  __shared__ int s[64], count;
  auto* d = static_cast<int*>(cuda_on_cpu::dynamic_shared());
  const int t = int(threadIdx.x);
  if (t == 0) count = 0;
  s[t] = d[63 - t] = t;
  __syncthreads();
  atomicAdd(&count, s[63 - t] + d[t]);
  __syncthreads();
  d[t] = t;
  __syncwarp();
  const int other = d[t ^ 1];
  __syncwarp();
  d[t] = other;
  y[int(blockIdx.x) * 64 + t] = count + d[t];
  if (t == 5) atomicAdd(sum, count);
}

std::string report_of(void (*kernel)(int*), unsigned grid) {
  return in_child([=] {
           Array<int> y(std::vector<int>(grid * 64));
           ok(start({.grid = grid, .block = 64, .shared = 256}, kernel, y.p));
         })
      .output;
}

}  // namespace

TEST_CASE("kernels without races") {
  every_order([] {
    const Ended e = in_child([] {
      Array<int> y(100 * 64), sum(std::vector<int>(1));
      for (int launch = 0; launch < 2; ++launch)
        ok(start({.grid = 100, .block = 64, .shared = 256}, clean_kernel, y.p, sum.p));
      const int count = 2 * 63 * 32;
      if (sum.host()[0] != 200 * count || y.host()[99 * 64 + 2] != count + 3) std::fputs("wrong", stderr);
    });
    CHECK(e.output == "");
    CHECK(e.well);
  });
}

TEST_CASE("races are reported with kernel and line") {
  if (!kTsan) return;
  const auto text = report_of(missing_barrier_kernel, 1);
  CHECK(contains(text, "data race"));
  CHECK(contains(text, "missing_barrier_kernel"));
  CHECK(contains(text, "races.cpp:" + std::to_string(kLine + 4)));
  CHECK(contains(text, "block (0,0,0), thread ("));
  CHECK(contains(report_of(missing_syncwarp_kernel, 1), "data race"));
  CHECK(contains(report_of(plain_add_kernel, 1), "data race"));
  CHECK(contains(report_of(plain_and_atomic_kernel, 1), "data race"));
}

TEST_CASE("races between blocks are reported") {
  if (!kTsan) return;
  CHECK(contains(report_of(add_of_blocks_kernel, 2), "data race"));
  CHECK(contains(report_of(after_barrier_kernel, 2), "data race"));
  CHECK(report_of(add_of_blocks_kernel, 1).empty());
}
