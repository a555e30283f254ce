// What the checks of the emulation share.
#pragma once
#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

/// Whether ThreadSanitizer would report races on purpose.
constexpr bool kTsan =
#ifdef __SANITIZE_THREAD__
    true;
#else
    false;
#endif

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
  explicit Array(std::initializer_list<T> v) : Array(std::vector<T>(v)) {}
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
  const auto before = cuda_on_cpu::order();
  for (const auto order : {forward, reverse, random, warps}) {
    CAPTURE(int(order));
    cuda_on_cpu::set_order(order, 7);
    f();
  }
  cuda_on_cpu::set_order(before);
}

/// What a copy of this process says (standard error, too) and how it ends when it runs f: for what must crash.
struct Ended {
  std::string output;
  bool well;  // f came to its end, and no sanitizer said otherwise
};
template <class F> Ended in_child(F f) {
  int pipes[2];
  REQUIRE(pipe(pipes) == 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(pipes[1], STDOUT_FILENO);
    dup2(pipes[1], STDERR_FILENO);
    close(pipes[0]);
    signal(SIGSEGV, SIG_DFL);
    cuda_on_cpu::catch_crashes();
    f();
    _exit(0);
  }
  close(pipes[1]);
  Ended ended;
  char buffer[4096];
  for (ssize_t n; (n = read(pipes[0], buffer, sizeof buffer)) > 0;) ended.output.append(buffer, std::size_t(n));
  close(pipes[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ended.well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return ended;
}
inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
