// Device memory: guard zones, its protection from the host, copies.
#include <cmath>
#include <cstring>

#include "checks/check.h"

namespace {

constexpr bool kAsan =
#ifdef __SANITIZE_ADDRESS__
    true;
#else
    false;
#endif

__global__ void nothing_kernel(const float*, float*) {}
struct Pointer {  // hides a pointer from the check of arguments
  float* p;
};
__global__ void write_kernel(Pointer y, int i, float v) { y.p[i] = v; }
__global__ void read_kernel(Pointer x, int i, float* y) { *y = x.p[i]; }
__global__ void dynamic_kernel(int* y, bool write) {
  auto* s = static_cast<int*>(cuda_on_cpu::dynamic_shared());
  y[blockIdx.x * blockDim.x + threadIdx.x] = s[threadIdx.x];
  if (write) s[threadIdx.x] = 1;
}
__global__ void beyond_shared_kernel(int* y, int n) { *y = static_cast<int*>(cuda_on_cpu::dynamic_shared())[n]; }
__global__ void deep_kernel(int* y) {
  volatile char stack[512 << 10];
  for (std::size_t i = sizeof stack; i > 0; i -= 512) stack[i - 1] = 1;
  *y = stack[0];
}

}  // namespace

TEST_CASE("fresh and reused memory is NaN") {
  ok(start({}, nothing_kernel, nullptr, nullptr));  // what was freed before is given back now
  Array<float> x(1000);
  for (float v : x.host()) CHECK(std::isnan(v));
  ok(cudaMemset(x.p, 0, 4000));
  for (float v : x.host()) CHECK(v == 0);
  float* before = x.p;
  ok(cudaFree(x.p));
  ok(start({}, nothing_kernel, nullptr, nullptr));
  ok(cudaMalloc(&x.p, 4000));
  CHECK(x.p == before);
  for (float v : x.host()) CHECK(std::isnan(v));
  CHECK(reinterpret_cast<std::uintptr_t>(x.p) % 256 == 0);
}

TEST_CASE("dynamic shared memory begins as 0xff in every block") {
  Array<int> y(3 * 32);
  ok(start({.grid = 3, .shared = 128}, dynamic_kernel, y.p, true));
  for (int v : y.host()) CHECK(v == -1);
}

TEST_CASE("writes outside of an allocation are found") {
  const auto write = [](int i) {
    const Ended e = in_child([&] {
      Array<float> x(10), y(10);
      ok(start({.block = 1}, nothing_kernel, x.p, y.p));
      std::fputs(error_of(start({.block = 1}, write_kernel, Pointer{x.p}, i, 1.f)).c_str(), stderr);
    });
    if (kAsan) CHECK(!e.well);
    return e.output;
  };
  if (kAsan) {
    for (int i : {10, -1, 12, 13}) {
      const auto text = write(i);
      CHECK(contains(text, "AddressSanitizer: use-after-poison"));
      CHECK(contains(text, "in kernel "));
      CHECK(contains(text, "write_kernel, block (0,0,0), thread (0,0,0)"));
    }
  } else {
    for (int i : {10, 12, 100}) CHECK(contains(write(i), "has written behind an allocation of 40 bytes"));
    for (int i : {-1, -64}) CHECK(contains(write(i), "has written before an allocation of 40 bytes"));
    for (int i : {0, 9}) CHECK(write(i).empty());
  }
}

TEST_CASE("a write into freed memory is found when the memory is given out again") {
  if (kAsan) return;  // which reports it at once
  Array<float> x(10), keep(10);
  float* p = x.p;
  ok(cudaFree(x.p));
  ok(start({}, nothing_kernel, nullptr, nullptr));
  ok(start({.block = 1}, write_kernel, Pointer{p}, 3, 1.f));
  ok(cudaMalloc(&x.p, 40));
  CHECK(contains(error_of(start({}, nothing_kernel, x.p, x.p)), "has written into memory that was free"));
  CHECK(error_of(cudaDeviceSynchronize()).empty());
}

TEST_CASE("host code that touches device memory crashes, and is told why") {
  float* p = nullptr;
  ok(cudaMalloc(&p, 40));
  for (int what : {0, 1, 2}) {
    const Ended e = in_child([&] {
      if (what == 2) cudaFree(p);
      if (what == 1) *p = 1;
      std::printf("%g\n", double(p[2]));
    });
    CHECK(!e.well);
    if (kAsan && what == 2) {
      CHECK(contains(e.output, "use-after-poison"));
      continue;
    }
    CHECK(contains(e.output, "cuda_on_cpu: host code touches device memory at 0x"));
    if (what == 0) CHECK(contains(e.output, "byte 8 of an allocation of 40"));
    if (what == 2) CHECK(contains(e.output, "which is not allocated"));
  }
  ok(cudaFree(p));
}

TEST_CASE("a kernel that touches what it may not, or overflows its stack, says which one it is") {
  const Ended e = in_child([] {
    Array<float> y(1);
    ok(start({.grid = 2, .block = 3}, read_kernel, Pointer{nullptr}, 5, y.p));
  });
  CHECK(!e.well);
  CHECK(contains(e.output, "cuda_on_cpu: in kernel"));
  if (kAsan) return;  // whose frames are larger
  const Ended f = in_child([] {
    Array<int> y(1);
    ok(start({}, deep_kernel, y.p));
  });
  CHECK(!f.well);
  CHECK(contains(f.output, "device code overflows its stack"));
}

TEST_CASE("ASan reports shared memory out of bounds") {
  if (!kAsan) return;
  const Ended e = in_child([] {
    Array<int> y(1);
    ok(start({.block = 1, .shared = 40}, beyond_shared_kernel, y.p, 9));
    std::fputs("within", stderr);
    ok(start({.block = 1, .shared = 40}, beyond_shared_kernel, y.p, 10));
  });
  CHECK(contains(e.output, "within"));
  CHECK(contains(e.output, "use-after-poison"));
}

TEST_CASE("copies: rows with a pitch, device to device, and what is refused") {
  std::vector<float> x{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, back(4, -1.f);
  Array<float> dx(x), dy(12);
  ok(cudaMemcpyAsync(dy.p, dx.p, 48, cudaMemcpyDeviceToDevice));
  CHECK(dy.host() == x);
  ok(cudaMemcpy2DAsync(back.data(), 8, dx.p + 1, 16, 8, 2, cudaMemcpyDeviceToHost));
  CHECK(back == std::vector<float>{1, 2, 5, 6});

  const auto copy = [](void* to, const void* from, std::size_t n, cudaMemcpyKind k) {
    return error_of(cudaMemcpy(to, from, n, k));
  };
  CHECK(contains(copy(dx.p, x.data(), 52, cudaMemcpyHostToDevice),
                 "the target of a copy of 52 bytes ends behind its allocation of 48"));
  CHECK(contains(copy(x.data(), dx.p + 1, 48, cudaMemcpyDeviceToHost), "the source of a copy of 48 bytes ends behind"));
  CHECK(contains(copy(x.data(), dx.p, 48, cudaMemcpyHostToDevice),
                 "the target of a copy of 48 bytes is not device memory"));
  CHECK(contains(copy(x.data(), dx.p, 48, cudaMemcpyHostToHost), "the source of a copy of 48 bytes is device memory"));
  CHECK(contains(copy(dx.p, nullptr, 4, cudaMemcpyHostToDevice), "is null"));
  CHECK(copy(back.data(), dx.p + 8, 16, cudaMemcpyDefault).empty());
  CHECK(back[3] == 11);
  CHECK(contains(error_of(cudaMemset(x.data(), 0, 4)), "is not device memory"));
  CHECK(contains(error_of(cudaMemset(dx.p, 0, 49)), "ends behind"));
}

TEST_CASE("allocations: none of nothing, errors of wrong frees, and all is given back") {
  const std::size_t before = cuda_on_cpu::allocations();
  std::size_t free = 0, total = 0, now = 0;
  ok(cudaMemGetInfo(&free, &total));
  std::vector<char*> all(50);
  for (std::size_t i = 0; i < all.size(); ++i) ok(cudaMalloc(&all[i], i * 100 + 1));
  ok(cudaMemGetInfo(&now, &total));
  CHECK(free - now == 50 + 100 * 49 * 25);
  CHECK(error_of(cudaFree(all[3] + 1)) != "");
  CHECK(cuda_on_cpu::is_device_memory(all[7], 701));
  CHECK(!cuda_on_cpu::is_device_memory(all[7], 702));
  for (std::size_t i = 0; i < all.size(); ++i) ok(cudaFree(all[i * 7 % all.size()]));
  CHECK(contains(error_of(cudaFree(all[3])), "free already"));
  CHECK(cuda_on_cpu::allocations() == before);
  char* p = all[0];
  ok(cudaMalloc(&p, 0));
  CHECK(p == nullptr);
  ok(cudaFree(nullptr));
  CHECK(cudaMalloc(&p, std::size_t{1} << 40) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
}
