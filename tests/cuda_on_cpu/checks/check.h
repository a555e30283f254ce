// What the checks of the emulation share.
#pragma once
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

/// The text of a failed call, empty for success; ends sticky errors.
inline std::string error_of(cudaError_t e) {
  if (e == cudaSuccess) return {};
  const std::string text = cudaGetErrorString(e);
  cuda_on_cpu::recover();
  return text;
}
inline void ok(cudaError_t e) { REQUIRE_MESSAGE(e == cudaSuccess, cudaGetErrorString(e)); }

struct Shape {
  dim3 grid = 1, block = 32;
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
};
template <class... P, class... A> cudaError_t start(const Shape& s, void (*kernel)(P...), A&&... a) {
  const cudaLaunchConfig_t config{
      .gridDim = s.grid, .blockDim = s.block, .dynamicSmemBytes = s.shared, .stream = s.stream};
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(a)...);
}

/// An array on the device.
template <class T> struct Array {
  T* p = nullptr;
  std::size_t n;
  explicit Array(std::size_t count) : n(count) { ok(cudaMalloc(&p, n * sizeof(T))); }
  explicit Array(const std::vector<T>& v) : Array(v.size()) {
    ok(cudaMemcpy(p, v.data(), n * sizeof(T), cudaMemcpyHostToDevice));
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() {
    if (p) CHECK(cudaFree(p) == cudaSuccess);
  }
  std::vector<T> host() const {
    std::vector<T> v(n);
    ok(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }
};

/// Runs f with every order of threads.
template <class F> void every_order(F f) {
  using enum cuda_on_cpu::Order;
  for (const auto order : {forward, reverse, random}) {
    CAPTURE(int(order));
    cuda_on_cpu::set_order(order, 7);
    f();
  }
  cuda_on_cpu::set_order(forward);
}
