// Mistakes in kernels and launches: what is said, and that the next launch goes on as if nothing had happened.
#include "checks/check.h"

namespace {

constexpr unsigned kAll = ~0u;

__global__ void nothing_kernel() {}
__global__ void take_kernel(const float*, int, float*) {}
__global__ void leaves_kernel() {
  if (threadIdx.x == 4) return;
  __syncthreads();
}
__global__ void leaves_late_kernel() {
  if (threadIdx.x != 4) __syncthreads();
}
constexpr int kTwoBarriers = __LINE__;
__global__ void two_barriers_kernel() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void shuffle_without_me_kernel() { __shfl_sync(0xfu, 1, 0); }
__global__ void shuffle_from_stranger_kernel() {
  if (threadIdx.x < 16) __shfl_sync(0xffffu, 1, 20);
}
__global__ void shuffle_after_exit_kernel(int* y) {
  if (threadIdx.x >= 16) return;
  y[threadIdx.x] = __shfl_xor_sync(kAll, 1, 16);
}
__global__ void masks_differ_kernel() { __shfl_sync(threadIdx.x < 16 ? kAll : 0xffff0000u, 1, 20); }
__global__ void masks_cross_kernel() { __shfl_sync(threadIdx.x < 16 ? kAll : 0xffff0001u, 1, 0); }
__global__ void half_shuffles_kernel() {
  if (threadIdx.x % 32 < 16)
    __shfl_sync(kAll, 1, 0);
  else
    __syncthreads();
}
__global__ void trap_kernel() {
  if (threadIdx.x == 7) __trap();
}
__global__ void partial_warp_kernel(int* y) { y[threadIdx.x] = __popc(__ballot_sync(kAll, 1)); }

std::string failure_of(void (*kernel)(), unsigned threads) {
  return error_of(start({.grid = 2, .block = threads}, kernel));
}

}  // namespace

TEST_CASE("a barrier that not all threads come to") {
  every_order([] {
    for (auto* kernel : {leaves_kernel, leaves_late_kernel}) {
      const auto text = failure_of(kernel, 64);
      CHECK(contains(text, "unspecified launch failure: thread ("));
      CHECK(contains(text, " waits at the barrier in "));
      CHECK(contains(text, "failures.cpp:1"));
      CHECK(contains(text, ", thread (4,0,0) has exited"));
    }
    CHECK(error_of(start({}, nothing_kernel)).empty());
  });
  const auto before = cuda_on_cpu::order();
  cuda_on_cpu::set_order(cuda_on_cpu::Order::forward);
  CHECK(contains(failure_of(leaves_kernel, 64), "thread (0,0,0) of block (0,0,0) waits"));
  cuda_on_cpu::set_order(before);
}

TEST_CASE("two barriers at a time") {
  every_order([] {
    const auto text = failure_of(two_barriers_kernel, 64);
    CHECK(contains(text, "waits at the barrier in"));
    CHECK(contains(text, "failures.cpp:" + std::to_string(kTwoBarriers + 3)));
    CHECK(contains(text, "failures.cpp:" + std::to_string(kTwoBarriers + 5)));
  });
}

TEST_CASE("shuffles with wrong masks, and of lanes that are not there") {
  every_order([] {
    CHECK(contains(failure_of(shuffle_without_me_kernel, 32), "is not in the mask that it names in "));
    CHECK(contains(failure_of(shuffle_from_stranger_kernel, 32), "reads lane 20, which takes no part in the shuffle"));
    CHECK(contains(failure_of(masks_differ_kernel, 32), "reads lane 20, which takes no part in the shuffle"));
    CHECK(contains(failure_of(masks_cross_kernel, 32), "waits for lanes of its warp in "));
    CHECK(contains(failure_of(half_shuffles_kernel, 64), "waits for lanes of its warp in "));
    CHECK(contains(failure_of(half_shuffles_kernel, 64), "waits at the barrier in "));
    Array<int> y(32);
    CHECK(contains(error_of(start({}, shuffle_after_exit_kernel, y.p)), "which takes no part in the shuffle in "));
    ok(start({.block = 20}, partial_warp_kernel, y.p));  // lanes that never were have ended
    CHECK(y.host()[19] == 20);
  });
}

TEST_CASE("a trap says where") { CHECK(contains(failure_of(trap_kernel, 32), "thread (7,0,0) of block (")); }

TEST_CASE("a failed launch is the end of all calls; a refused one is not") {
  REQUIRE(start({.block = 64}, leaves_kernel) == cudaErrorLaunchFailure);
  float* p = nullptr;
  CHECK(cudaMalloc(&p, 4) == cudaErrorLaunchFailure);
  CHECK(start({}, nothing_kernel) == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(contains(cudaGetErrorString(cudaErrorLaunchFailure), "has exited"));
  cuda_on_cpu::recover();
  CHECK(cudaGetLastError() == cudaSuccess);

  CHECK(start({.grid = 0}, nothing_kernel) == cudaErrorInvalidConfiguration);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidConfiguration)) == "cudaErrorInvalidConfiguration");
  CHECK(std::string(cudaGetErrorString(cudaErrorNotReady)) == "device not ready");
}

TEST_CASE("launches of a wrong shape") {
  const auto text = [](const Shape& s) { return error_of(start(s, nothing_kernel)); };
  CHECK(contains(text({.grid = 0}), "the grid is empty: (0, 1, 1)"));
  CHECK(contains(text({.grid = {1, 0}}), "the grid is empty"));
  CHECK(contains(text({.grid = {1, 65536}}), "the grid may be (2147483647, 65535, 65535); got (1, 65536, 1)"));
  CHECK(contains(text({.grid = {1, 1, 65536}}), "the grid may be"));
  CHECK(contains(text({.block = 1025}), "a block has 1 to 1024 threads"));
  CHECK(contains(text({.block = {32, 33}}), "got (32, 33, 1)"));
  CHECK(contains(text({.block = {1, 1, 65}}), "a block has"));
  CHECK(contains(text({.block = 0u}), "a block has"));
  CHECK(text({.grid = {2, 65535}, .block = 1}).empty());
  CHECK(text({.block = 1024}).empty());
}

TEST_CASE("dynamic shared memory: 48 KB, and up to 227 KB when asked for") {
  const auto text = [](std::size_t bytes) { return error_of(start({.shared = bytes}, nothing_kernel)); };
  CHECK(text(48 << 10).empty());
  CHECK(contains(text((48 << 10) + 1),
                 "may have 49152 bytes of dynamic shared memory (cudaFuncSetAttribute); got 49153"));
  ok(cudaFuncSetAttribute(nothing_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 << 10));
  CHECK(text(227 << 10).empty());
  CHECK(contains(text((227 << 10) + 1), "may have 232448 bytes"));
  CHECK(error_of(cudaFuncSetAttribute(nothing_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10)) != "");
  ok(cudaFuncSetAttribute(nothing_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 48 << 10));
}

TEST_CASE("pointers of the host are no arguments; null, pinned memory and whatever lies behind an allocation are") {
  float here = 0, *pinned = nullptr;
  Array<float> x(8);
  ok(cudaMallocHost(&pinned, 4));
  CHECK(contains(error_of(start({}, take_kernel, x.p, 0, &here)),
                 "invalid device pointer: pointer argument 1 points to pageable memory of the host"));
  CHECK(error_of(start({}, take_kernel, x.p + 8, 0, pinned)).empty());
  CHECK(error_of(start({}, take_kernel, x.p + 1000, 0, pinned)).empty());  // where an empty view may begin
  CHECK(error_of(start({}, take_kernel, nullptr, 0, x.p + 3)).empty());
  ok(cudaFreeHost(pinned));
}
