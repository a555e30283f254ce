// Threads, barriers, warps, atomics, and what goes wrong with them.
#include <algorithm>
#include <numeric>

#include "checks/check.h"

namespace {

constexpr unsigned kAll = ~0u;

__global__ void where_kernel(int* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = int(block * 1000 + thread);
}

// y = the sums of rows of blockDim.x values, by a tree in shared memory.
__global__ void block_sum_kernel(const int* x, int* y) {
  __shared__ int part[1024];
  const unsigned t = threadIdx.x;
  part[t] = x[blockIdx.x * blockDim.x + t];
  for (unsigned d = blockDim.x / 2; d > 0; d /= 2) {
    __syncthreads();
    if (t < d) part[t] += part[t + d];
  }
  __syncthreads();
  if (t == blockDim.x - 1) y[blockIdx.x] = part[0];
}

__global__ void votes_kernel(int* y) {
  const int odd = threadIdx.x & 1;
  y[threadIdx.x * 4 + 0] = __syncthreads_or(threadIdx.x == 5);
  y[threadIdx.x * 4 + 1] = __syncthreads_and(threadIdx.x != 5);
  y[threadIdx.x * 4 + 2] = __syncthreads_count(odd);
  y[threadIdx.x * 4 + 3] = __syncthreads_and(1);
}

__global__ void shuffles_kernel(int* y, int width) {
  const int v = int(threadIdx.x) * 10, n = int(blockDim.x);
  int* mine = y + threadIdx.x;
  mine[0 * n] = __shfl_sync(kAll, v, 3, width);
  mine[1 * n] = __shfl_up_sync(kAll, v, 1, width);
  mine[2 * n] = __shfl_down_sync(kAll, v, 2, width);
  mine[3 * n] = __shfl_xor_sync(kAll, v, 5, width);
}

__global__ void ballots_kernel(unsigned* y) {
  const int lane = threadIdx.x % 32;
  unsigned* mine = y + threadIdx.x * 4;
  mine[0] = __ballot_sync(kAll, lane % 3 == 0);
  mine[1] = unsigned(__any_sync(kAll, lane == 40));
  mine[2] = unsigned(__all_sync(kAll, lane < 32));
  mine[3] = lane < 8 ? __ballot_sync(0xffu, lane != 2) : __ballot_sync(0xffffff00u, lane != 12);
}

// A warp works in shared memory by itself.
__global__ void warp_scan_kernel(int* y) {
  __shared__ int s[32];
  const int lane = int(threadIdx.x);
  s[lane] = 1;
  __syncwarp();
  for (int d = 1; d < 32; d *= 2) {
    const int add = lane >= d ? s[lane - d] : 0;
    __syncwarp();
    s[lane] += add;
    __syncwarp();
  }
  y[lane] = s[lane];
}

__global__ void double_shuffle_kernel(double* y) {
  double v = 1.0 / (threadIdx.x + 1);
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(kAll, v, d);
  y[threadIdx.x] = v;
}

__global__ void turns_kernel(int* turn, int* y) {
  y[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(turn, 1);
  __syncthreads();
  y[gridDim.x * blockDim.x + blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(turn, 1);
}

// Two meetings of every warp, without a barrier of the block.
__global__ void meetings_kernel(int* turn, int* y) {
  __syncwarp();
  y[threadIdx.x] = atomicAdd(turn, 1);
  __syncwarp();
  y[blockDim.x + threadIdx.x] = atomicAdd(turn, 1);
}

}  // namespace

TEST_CASE("a warp that runs ahead has ended before the next begins; else warps meet in turns") {
  every_order([] {
    Array<int> turn({0}), y(4 * 32);
    ok(start({.block = 64}, meetings_kernel, turn.p, y.p));
    const auto v = y.host();
    const int last_of_first = *std::max_element(v.begin() + 64, v.begin() + 96);
    const int first_of_second = *std::min_element(v.begin() + 32, v.begin() + 64);
    if (cuda_on_cpu::order() == cuda_on_cpu::Order::warps) CHECK(last_of_first < first_of_second);
    if (cuda_on_cpu::order() == cuda_on_cpu::Order::forward) CHECK(last_of_first > first_of_second);
  });
}

TEST_CASE("threads and blocks take their turns forward, in reverse, at random, or warp by warp") {
  const char* s = std::getenv("CUDA_ON_CPU_ORDER");
  const std::string at_start = s ? s : "forward";
  const char* names[] = {"forward", "reverse", "random", "warps"};
  CHECK(at_start.starts_with(names[int(cuda_on_cpu::order())]));
  every_order([] {
    constexpr int n = 40;
    Array<int> turn({0}), y(4 * n);
    ok(start({.grid = 2, .block = n}, turns_kernel, turn.p, y.p));
    const auto v = y.host();
    const bool reverse = cuda_on_cpu::order() == cuda_on_cpu::Order::reverse;
    std::vector<int> expected;
    for (int after = 0; after < 2; ++after)
      for (int block = 0; block < 2; ++block)
        for (int t = 0; t < n; ++t)
          expected.push_back((reverse ? 1 - block : block) * 2 * n + after * n + (reverse ? n - 1 - t : t));
    CHECK((v == expected) == (cuda_on_cpu::order() != cuda_on_cpu::Order::random));
    auto sorted = v;
    std::sort(sorted.begin(), sorted.end());
    for (int i = 0; i < 4 * n; ++i) CHECK(sorted[std::size_t(i)] == i);
  });
}

TEST_CASE("every thread of every block runs once and knows its place") {
  every_order([] {
    Array<int> y(2 * 3 * 2 * 4 * 2 * 3);
    ok(start({.grid = {2, 3, 2}, .block = {4, 2, 3}}, where_kernel, y.p));
    const auto v = y.host();
    for (int b = 0; b < 12; ++b)
      for (int t = 0; t < 24; ++t) CHECK(v[std::size_t(b * 24 + t)] == b * 1000 + t);
  });
}

TEST_CASE("barriers: sums by a tree, in blocks of 32 to 1024") {
  every_order([] {
    for (unsigned n : {32u, 64u, 256u, 1024u}) {
      std::vector<int> x(n * 3);
      std::iota(x.begin(), x.end(), 5);
      Array<int> dx(x), y(3);
      ok(start({.grid = 3, .block = n}, block_sum_kernel, dx.p, y.p));
      const auto v = y.host();
      for (std::size_t b = 0; b < 3; ++b) CHECK(v[b] == std::accumulate(&x[b * n], &x[b * n] + n, 0));
    }
  });
}

TEST_CASE("barriers vote: or, and, count") {
  every_order([] {
    Array<int> y(40 * 4);
    ok(start({.block = 40}, votes_kernel, y.p));
    const auto v = y.host();
    for (std::size_t t = 0; t < 40; ++t) {
      CHECK(v[t * 4 + 0] == 1);
      CHECK(v[t * 4 + 1] == 0);
      CHECK(v[t * 4 + 2] == 20);
      CHECK(v[t * 4 + 3] == 1);
    }
  });
}

TEST_CASE("shuffles, in parts of 8, 16 and 32 lanes") {
  every_order([] {
    for (int width : {8, 16, 32}) {
      Array<int> y(4 * 64);
      ok(start({.block = 64}, shuffles_kernel, y.p, width));
      const auto v = y.host();
      for (int t = 0; t < 64; ++t) {
        const int first = t / width * width, in = t - first;
        CHECK(v[std::size_t(t)] == (first + 3) * 10);
        CHECK(v[std::size_t(64 + t)] == (in >= 1 ? t - 1 : t) * 10);
        CHECK(v[std::size_t(128 + t)] == (in + 2 < width ? t + 2 : t) * 10);
        CHECK(v[std::size_t(192 + t)] == (t ^ 5) * 10);
      }
    }
  });
}

TEST_CASE("ballots, also of two parts of a warp with masks of their own") {
  every_order([] {
    Array<unsigned> y(64 * 4);
    ok(start({.block = 64}, ballots_kernel, y.p));
    const auto v = y.host();
    for (std::size_t t = 0; t < 64; ++t) {
      CHECK(v[t * 4 + 0] == 0x49249249u);
      CHECK(v[t * 4 + 1] == 0);
      CHECK(v[t * 4 + 2] == 1);
      CHECK(v[t * 4 + 3] == (t % 32 < 8 ? 0xfbu : 0xffffef00u));
    }
  });
}

TEST_CASE("__syncwarp orders the lanes of a warp; shuffles carry 8 bytes") {
  every_order([] {
    Array<int> y(32);
    ok(start({}, warp_scan_kernel, y.p));
    const auto v = y.host();
    for (int t = 0; t < 32; ++t) CHECK(v[std::size_t(t)] == t + 1);
    Array<double> z(32);
    ok(start({}, double_shuffle_kernel, z.p));
    for (double w : z.host()) CHECK(w == doctest::Approx(4.05849519543652).epsilon(1e-14));
  });
}
