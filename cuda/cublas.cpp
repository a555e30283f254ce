// cuBLAS is column-major: it is asked for y^T = b^T a^T, whose operands are ours as they lie.
#include "cuda/cublas.h"

#include <cublas_v2.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <type_traits>

#include "core/bf16.h"
#include "core/errors.h"
#include "cuda/runtime.h"

namespace moegrad::cuda {
namespace {

std::atomic<bool> tf32_allowed{false};

void check(cublasStatus_t status, const char* op) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(fmt::format("{}: cuBLAS must do what it is asked to; got {}", op, cublasGetStatusString(status)));
}

// One for the process, because there is one stream. Its workspace is fixed, so that a captured graph can use it.
struct Library {
  static constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // as NVIDIA advises for Hopper
  cublasHandle_t handle = nullptr;
  std::mutex busy;  // a handle is used by one thread at a time

  Library() {
    if (capturing())
      throw Error("product: the first product must not be part of a captured graph: cuBLAS is not prepared");
    void* workspace = nullptr;
    check(cublasCreate(&handle), "cublas");
    check(cublasSetStream(handle, stream()), "cublas");
    cuda::check(cudaMalloc(&workspace, kWorkspace), "cublas");
    check(cublasSetWorkspace(handle, workspace, kWorkspace), "cublas");
    // Partial sums of one product are added in f32, also where the result is bf16.
    check(cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION), "cublas");
  }
};
Library& library() {
  static Library* const made = new Library;
  return *made;
}

template <class F> struct Kind;
template <> struct Kind<float> {
  using Scalar = float;
  static constexpr cudaDataType_t kData = CUDA_R_32F;
  static cublasComputeType_t compute() { return tf32_allowed ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F; }
};
template <> struct Kind<double> {
  using Scalar = double;
  static constexpr cudaDataType_t kData = CUDA_R_64F;
  static cublasComputeType_t compute() { return CUBLAS_COMPUTE_64F; }
};
template <> struct Kind<bf16> {
  using Scalar = float;
  static constexpr cudaDataType_t kData = CUDA_R_16BF;
  static cublasComputeType_t compute() { return CUBLAS_COMPUTE_32F; }
};

// A gemm as cuBLAS wants it: our b is its first operand.
struct Sizes {
  int m, n, k, a_stride, b_stride, y_stride;
  cublasOperation_t a, b;

  explicit Sizes(const Gemm& g) {
    constexpr i64 kMost = std::numeric_limits<int>::max();
    if (std::max({g.m, g.n, g.k, g.a_stride, g.b_stride}) > kMost)
      throw Error(
          fmt::format("{}: sizes and strides of a matrix on a GPU must be below 2^31; got {} x {} x {}, "
                      "strides {} and {}",
                      g.op, g.m, g.n, g.k, g.a_stride, g.b_stride));
    m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
    // A single row (or column) may come with any stride; cuBLAS wants one that would fit more of them.
    a_stride = static_cast<int>(std::max({g.a_stride, g.a_transposed ? g.m : g.k, i64{1}}));
    b_stride = static_cast<int>(std::max({g.b_stride, g.b_transposed ? g.k : g.n, i64{1}}));
    y_stride = n;
    a = g.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    b = g.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  }
};

constexpr i64 kMostProducts = 65535;  // of one call: some of cuBLAS's kernels number them by a grid's z

}  // namespace

void set_tf32(bool allowed) { tf32_allowed = allowed; }
bool tf32() { return tf32_allowed; }

void prepare_products() { library(); }

template <class F> i64 address_alignment() { return std::is_same_v<F, bf16> || tf32_allowed ? 16 : sizeof(F); }

template <class F>
void gemm_strided(const Gemm& g, const F* a, i64 a_step, const F* b, i64 b_step, F* y, i64 y_step, i64 count) {
  if (g.m == 0 || g.n == 0) return;
  const Sizes s(g);
  if (g.k == 0) {
    const bool joined = y_step == g.m * g.n;
    const i64 bytes = (joined ? count : 1) * g.m * g.n * static_cast<i64>(sizeof(F));
    for (i64 i = 0; i < (joined ? std::min<i64>(count, 1) : count); ++i)
      cuda::check(cudaMemsetAsync(y + i * y_step, 0, static_cast<std::size_t>(bytes), stream()), g.op);
    return;
  }
  const typename Kind<F>::Scalar one = 1, zero = 0;
  Library& l = library();
  const std::lock_guard lock(l.busy);
  for (i64 first = 0; first < count; first += kMostProducts) {
    const int some = static_cast<int>(std::min(count - first, kMostProducts));
    check(cublasGemmStridedBatchedEx(l.handle, s.b, s.a, s.n, s.m, s.k, &one, b + first * b_step, Kind<F>::kData,
                                     s.b_stride, b_step, a + first * a_step, Kind<F>::kData, s.a_stride, a_step, &zero,
                                     y + first * y_step, Kind<F>::kData, s.y_stride, y_step, some, Kind<F>::compute(),
                                     CUBLAS_GEMM_DEFAULT),
          g.op);
  }
}

template <class F> void gemm_scattered(const Gemm& g, const F* const* a, const F* const* b, F* const* y, i64 count) {
  if (g.m == 0 || g.n == 0) return;
  const Sizes s(g);
  const typename Kind<F>::Scalar one = 1, zero = 0;
  Library& l = library();
  const std::lock_guard lock(l.busy);
  const auto plain = [](auto* array) { return reinterpret_cast<const void* const*>(array); };
  for (i64 first = 0; first < count; first += kMostProducts) {
    const int some = static_cast<int>(std::min(count - first, kMostProducts));
    check(cublasGemmBatchedEx(l.handle, s.b, s.a, s.n, s.m, s.k, &one, plain(b + first), Kind<F>::kData, s.b_stride,
                              plain(a + first), Kind<F>::kData, s.a_stride, &zero,
                              reinterpret_cast<void* const*>(y + first), Kind<F>::kData, s.y_stride, some,
                              Kind<F>::compute(), CUBLAS_GEMM_DEFAULT),
          g.op);
  }
}

#define MOEGRAD_GEMM(F)                                                                \
  template i64 address_alignment<F>();                                                 \
  template void gemm_strided(const Gemm&, const F*, i64, const F*, i64, F*, i64, i64); \
  template void gemm_scattered(const Gemm&, const F* const*, const F* const*, F* const*, i64);
MOEGRAD_GEMM(float)
MOEGRAD_GEMM(double)
MOEGRAD_GEMM(bf16)

}  // namespace moegrad::cuda
