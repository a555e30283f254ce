// cuBLAS on OpenBLAS. Each matrix is copied to memory of the host, where OpenBLAS's threads may read it, and is widened
// or rounded on the way as the tensor cores do.
#include "cublas_v2.h"

#include <cblas.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/errors.h"
#include "engine/memory.h"
#include "engine/streams.h"

using namespace cuda_on_cpu;

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace {

using i64 = std::int64_t;

struct Matrix {  // one of a batch: at `base` + i * stride elements, or at pointers[i] of an array on the device
  const void* base = nullptr;
  const void* const* pointers = nullptr;
  cudaDataType type;
  i64 rows, cols, ld, stride;
};
struct Gemm {
  cublasOperation_t transa, transb;
  int m, n, k, count;
  double alpha, beta;
  Matrix a, b, c;
  cublasComputeType_t compute;
};

std::size_t size_of(cudaDataType t) { return t == CUDA_R_64F ? 8 : t == CUDA_R_32F ? 4 : 2; }

float round_to_tf32(float v) {  // 10 bits of mantissa, to nearest, ties to even
  if (!std::isfinite(v)) return v;
  const auto bits = std::bit_cast<std::uint32_t>(v);
  return std::bit_cast<float>((bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu);
}
float from_bf16(std::uint16_t v) { return std::bit_cast<float>(std::uint32_t{v} << 16); }
std::uint16_t to_bf16(float v) {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  if (std::isnan(v)) return std::uint16_t(bits >> 16 | 0x40u);
  return std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Columns one after the other, without gaps.
template <class F> void load(const Matrix& m, const void* from, bool tf32, std::vector<F>& to) {
  to.resize(std::size_t(m.rows * m.cols));
  for (i64 col = 0; col < m.cols; ++col) {
    F* out = to.data() + col * m.rows;
    if (m.type == CUDA_R_16BF) {
      const auto* in = static_cast<const std::uint16_t*>(from) + col * m.ld;
      for (i64 row = 0; row < m.rows; ++row) out[row] = from_bf16(in[row]);
    } else {
      std::memcpy(out, static_cast<const F*>(from) + col * m.ld, std::size_t(m.rows) * sizeof(F));
      for (i64 row = 0; row < m.rows && tf32; ++row) out[row] = round_to_tf32(float(out[row]));
    }
  }
}
template <class F> void store(const Matrix& m, const std::vector<F>& from, void* to) {
  for (i64 col = 0; col < m.cols; ++col) {
    const F* in = from.data() + col * m.rows;
    if (m.type == CUDA_R_16BF) {
      auto* out = static_cast<std::uint16_t*>(to) + col * m.ld;
      for (i64 row = 0; row < m.rows; ++row) out[row] = to_bf16(float(in[row]));
    } else {
      std::memcpy(static_cast<F*>(to) + col * m.ld, in, std::size_t(m.rows) * sizeof(F));
    }
  }
}

const void* at(const Matrix& m, int i) {
  if (m.pointers) return m.pointers[i];
  return static_cast<const char*>(m.base) + i * m.stride * i64(size_of(m.type));
}

bool in_one_allocation(const void* p, i64 bytes) {
  const auto found = memory::find(p);
  return found.begin && static_cast<const char*>(p) + bytes <= found.begin + found.bytes;
}
// An error of the device when it is found there; before the launch cuBLAS does not look at it.
cudaError_t check(const char* name, const Matrix& m, int count) {
  if (m.rows == 0 || m.cols == 0) return cudaSuccess;
  if (m.pointers && !in_one_allocation(m.pointers, i64{count} * 8))
    return fail_for_good(cudaErrorIllegalAddress,
                         std::string("cuBLAS: the pointers of ") + name + " are not device memory");
  for (int i = 0; i < count; ++i)
    if (!in_one_allocation(at(m, i), ((m.cols - 1) * m.ld + m.rows) * i64(size_of(m.type))))
      return fail_for_good(cudaErrorIllegalAddress, std::string("cuBLAS: matrix ") + std::to_string(i) + " of " + name +
                                                        " is not device memory or exceeds its allocation");
  return cudaSuccess;
}

void call_blas(const Gemm& g, const float* a, const float* b, float* c) {
  const auto trans = [](cublasOperation_t t) { return t == CUBLAS_OP_N ? CblasNoTrans : CblasTrans; };
  cblas_sgemm(CblasColMajor, trans(g.transa), trans(g.transb), g.m, g.n, g.k, float(g.alpha), a,
              int(std::max<i64>(g.a.rows, 1)), b, int(std::max<i64>(g.b.rows, 1)), float(g.beta), c, g.m);
}
void call_blas(const Gemm& g, const double* a, const double* b, double* c) {
  const auto trans = [](cublasOperation_t t) { return t == CUBLAS_OP_N ? CblasNoTrans : CblasTrans; };
  cblas_dgemm(CblasColMajor, trans(g.transa), trans(g.transb), g.m, g.n, g.k, g.alpha, a,
              int(std::max<i64>(g.a.rows, 1)), b, int(std::max<i64>(g.b.rows, 1)), g.beta, c, g.m);
}

template <class F> void compute(const Gemm& g) {
  static std::vector<F> a, b, c;
  const bool tf32 = g.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  for (int i = 0; i < g.count; ++i) {
    load(g.a, at(g.a, i), tf32, a);
    load(g.b, at(g.b, i), tf32, b);
    if (g.beta != 0) load(g.c, at(g.c, i), false, c);
    c.resize(std::size_t(g.c.rows * g.c.cols));
    if (g.beta == 0) std::fill(c.begin(), c.end(), F(0));
    call_blas(g, a.data(), b.data(), c.data());
    store(g.c, c, const_cast<void*>(at(g.c, i)));
  }
}

cudaError_t run(const Gemm& g) {
  const memory::Access access;
  if (const cudaError_t e = check("a", g.a, g.count)) return e;
  if (const cudaError_t e = check("b", g.b, g.count)) return e;
  if (const cudaError_t e = check("c", g.c, g.count)) return e;
  if (g.c.type == CUDA_R_64F) {
    compute<double>(g);
  } else {
    compute<float>(g);
  }
  return cudaSuccess;
}

bool valid(cublasOperation_t t) { return t == CUBLAS_OP_N || t == CUBLAS_OP_T || t == CUBLAS_OP_C; }
bool is_double(cublasComputeType_t c) { return c == CUBLAS_COMPUTE_64F || c == CUBLAS_COMPUTE_64F_PEDANTIC; }

bool supported(const Gemm& g) {
  if (is_double(g.compute)) return g.a.type == CUDA_R_64F && g.b.type == CUDA_R_64F && g.c.type == CUDA_R_64F;
  if (g.a.type != g.b.type || g.a.type == CUDA_R_64F || g.c.type == CUDA_R_64F) return false;
  if (g.compute == CUBLAS_COMPUTE_32F_FAST_TF32) return g.a.type == CUDA_R_32F && g.c.type == CUDA_R_32F;
  return g.a.type == CUDA_R_16BF || g.c.type == CUDA_R_32F;
}

cublasStatus_t check_shape(const Gemm& g) {
  if (!valid(g.transa) || !valid(g.transb) || g.m < 0 || g.n < 0 || g.k < 0 || g.count < 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  for (const Matrix* m : {&g.a, &g.b, &g.c})
    if (m->ld < std::max<i64>(m->rows, 1)) return CUBLAS_STATUS_INVALID_VALUE;
  return supported(g) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

void set_scales(Gemm& g, const void* alpha, const void* beta) {
  const auto read = [&](const void* p) {
    return is_double(g.compute) ? *static_cast<const double*>(p) : double(*static_cast<const float*>(p));
  };
  g.alpha = read(alpha);
  g.beta = read(beta);
}

// Gets a gemm whose matrices have no rows and columns yet.
cublasStatus_t submit_gemm(cublasHandle_t handle, Gemm g, const void* alpha, const void* beta) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  if (handle->math == CUBLAS_TF32_TENSOR_OP_MATH && g.compute == CUBLAS_COMPUTE_32F && g.a.type == CUDA_R_32F)
    g.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  const bool a_plain = g.transa == CUBLAS_OP_N, b_plain = g.transb == CUBLAS_OP_N;
  g.a.rows = a_plain ? g.m : g.k, g.a.cols = a_plain ? g.k : g.m;
  g.b.rows = b_plain ? g.k : g.n, g.b.cols = b_plain ? g.n : g.k;
  g.c.rows = g.m, g.c.cols = g.n;
  if (const cublasStatus_t s = check_shape(g)) return s;
  if (g.m == 0 || g.n == 0 || g.count == 0) return CUBLAS_STATUS_SUCCESS;
  const Lock lock;
  if (memory::in_arena(alpha) || memory::in_arena(beta)) return CUBLAS_STATUS_INVALID_VALUE;  // they are the host's
  set_scales(g, alpha, beta);
  const cudaError_t e = submit(
      handle->stream, cudaGraphNodeTypeKernel, [&] { return run(g); }, [&] { return [g] { return run(g); }; });
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
#define STATUS(NAME, VALUE) \
  case NAME: return #NAME;
    CUDA_ON_CPU_CUBLAS_STATUS(STATUS)
#undef STATUS
  }
  return "unknown cuBLAS status";
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t* stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Lock lock;
  return bytes == 0 || in_one_allocation(workspace, i64(bytes)) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = handle->math;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                          int m, int n, int k, const void* alpha, const void* a, cudaDataType a_type,
                                          int lda, long long a_stride, const void* b, cudaDataType b_type, int ldb,
                                          long long b_stride, const void* beta, void* c, cudaDataType c_type, int ldc,
                                          long long c_stride, int count, cublasComputeType_t compute,
                                          cublasGemmAlgo_t) {
  const Gemm g{.transa = transa,
               .transb = transb,
               .m = m,
               .n = n,
               .k = k,
               .count = count,
               .a = {.base = a, .type = a_type, .ld = lda, .stride = a_stride},
               .b = {.base = b, .type = b_type, .ld = ldb, .stride = b_stride},
               .c = {.base = c, .type = c_type, .ld = ldc, .stride = c_stride},
               .compute = compute};
  return submit_gemm(handle, g, alpha, beta);
}
cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                                   int n, int k, const void* alpha, const void* const a[], cudaDataType a_type, int lda,
                                   const void* const b[], cudaDataType b_type, int ldb, const void* beta,
                                   void* const c[], cudaDataType c_type, int ldc, int count,
                                   cublasComputeType_t compute, cublasGemmAlgo_t) {
  const Gemm g{.transa = transa,
               .transb = transb,
               .m = m,
               .n = n,
               .k = k,
               .count = count,
               .a = {.pointers = a, .type = a_type, .ld = lda},
               .b = {.pointers = b, .type = b_type, .ld = ldb},
               .c = {.pointers = c, .type = c_type, .ld = ldc},
               .compute = compute};
  return submit_gemm(handle, g, alpha, beta);
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void* alpha, const void* a, cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta,
                                    c, c_type, ldc, 0, 1, compute, algorithm);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const float* alpha, const float* a, int lda,
                                         long long a_stride, const float* b, int ldb, long long b_stride,
                                         const float* beta, float* c, int ldc, long long c_stride, int count) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, CUDA_R_32F, lda, a_stride, b, CUDA_R_32F,
                                    ldb, b_stride, beta, c, CUDA_R_32F, ldc, c_stride, count, CUBLAS_COMPUTE_32F,
                                    CUBLAS_GEMM_DEFAULT);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                         int m, int n, int k, const double* alpha, const double* a, int lda,
                                         long long a_stride, const double* b, int ldb, long long b_stride,
                                         const double* beta, double* c, int ldc, long long c_stride, int count) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, CUDA_R_64F, lda, a_stride, b, CUDA_R_64F,
                                    ldb, b_stride, beta, c, CUDA_R_64F, ldc, c_stride, count, CUBLAS_COMPUTE_64F,
                                    CUBLAS_GEMM_DEFAULT);
}
