// cuBLAS against plain loops: column-major, transposed, strided, bf16, pointers on the device.
#include <cublas_v2.h>

#include <bit>
#include <cmath>
#include <random>

#include "checks/check.h"

namespace {

struct Handle {
  cublasHandle_t h = nullptr;
  Handle() { REQUIRE(cublasCreate(&h) == CUBLAS_STATUS_SUCCESS); }
  ~Handle() { cublasDestroy(h); }
};

using bf16 = std::uint16_t;
float widen(bf16 v) { return std::bit_cast<float>(std::uint32_t{v} << 16); }
float widen(float v) { return v; }
double widen(double v) { return v; }
bf16 narrow(float v) {  // exact for what noise() gives
  return bf16(std::bit_cast<std::uint32_t>(v) >> 16);
}

template <class T> std::vector<T> noise(std::size_t n, unsigned seed) {  // multiples of 1/8, exact in every type
  std::minstd_rand random(seed);
  std::vector<T> v(n);
  for (auto& x : v) {
    const float f = float(int(random() % 33) - 16) / 8;
    if constexpr (std::is_same_v<T, bf16>)
      x = narrow(f);
    else
      x = T(f);
  }
  return v;
}

struct Case {
  cublasOperation_t ta, tb;
  int m, n, k, count, extra;  // extra: of the leading dimensions
  double alpha, beta;
};
int lda(const Case& c) { return (c.ta == CUBLAS_OP_N ? c.m : c.k) + c.extra; }
int ldb(const Case& c) { return (c.tb == CUBLAS_OP_N ? c.k : c.n) + c.extra; }
int ldc(const Case& c) { return c.m + c.extra; }
long long a_stride(const Case& c) { return lda(c) * (c.ta == CUBLAS_OP_N ? c.k : c.m) + c.extra; }
long long b_stride(const Case& c) { return ldb(c) * (c.tb == CUBLAS_OP_N ? c.n : c.k) + c.extra; }
long long c_stride(const Case& c) { return ldc(c) * c.n + c.extra; }

template <class In, class Out>
std::vector<Out> expected(const Case& s, const std::vector<In>& a, const std::vector<In>& b, std::vector<Out> c) {
  for (int i = 0; i < s.count; ++i)
    for (int col = 0; col < s.n; ++col)
      for (int row = 0; row < s.m; ++row) {
        double sum = 0;
        for (int j = 0; j < s.k; ++j) {
          const auto x = i * a_stride(s) + (s.ta == CUBLAS_OP_N ? row + j * lda(s) : j + row * lda(s));
          const auto y = i * b_stride(s) + (s.tb == CUBLAS_OP_N ? j + col * ldb(s) : col + j * ldb(s));
          sum += double(widen(a[std::size_t(x)])) * double(widen(b[std::size_t(y)]));
        }
        auto& out = c[std::size_t(i * c_stride(s) + row + col * ldc(s))];
        const double old = s.beta == 0 ? 0 : double(widen(out));
        const double v = s.alpha * sum + s.beta * old;
        if constexpr (std::is_same_v<Out, bf16>)
          out = narrow(float(v));  // k is small: exact
        else
          out = Out(v);
      }
  return c;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (auto ta : {CUBLAS_OP_N, CUBLAS_OP_T})
    for (auto tb : {CUBLAS_OP_N, CUBLAS_OP_T})
      for (int extra : {0, 3}) {
        all.push_back({ta, tb, 3, 5, 2, 2, extra, 1, 0});
        all.push_back({ta, tb, 1, 4, 7, 3, extra, 0.5, 2});
      }
  all.push_back({CUBLAS_OP_N, CUBLAS_OP_N, 3, 2, 0, 1, 1, 1, 0});
  return all;
}

template <class In, class Out>
void compare(const Case& s, cudaDataType in, cudaDataType out, cublasComputeType_t compute) {
  const Handle handle;
  const auto a = noise<In>(std::size_t(a_stride(s) * s.count + 1), 1),
             b = noise<In>(std::size_t(b_stride(s) * s.count + 1), 2);
  const auto c = noise<Out>(std::size_t(c_stride(s) * s.count), 3);
  const Array<In> da(a), db(b);
  const Array<Out> dc(c);
  const float alpha = float(s.alpha), beta = float(s.beta);
  const bool wide = compute == CUBLAS_COMPUTE_64F;
  const void *pa = wide ? static_cast<const void*>(&s.alpha) : &alpha,
             *pb = wide ? static_cast<const void*>(&s.beta) : &beta;
  REQUIRE(cublasGemmStridedBatchedEx(handle.h, s.ta, s.tb, s.m, s.n, s.k, pa, da.p, in, lda(s), a_stride(s), db.p, in,
                                     ldb(s), b_stride(s), pb, dc.p, out, ldc(s), c_stride(s), s.count, compute,
                                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  CHECK(dc.host() == expected(s, a, b, c));
}

}  // namespace

TEST_CASE("products equal plain loops, in f32, f64 and bf16") {
  for (const Case& s : cases()) {
    compare<float, float>(s, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F);
    compare<float, float>(s, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32);
    compare<double, double>(s, CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F);
    compare<bf16, float>(s, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F);
    compare<bf16, bf16>({s.ta, s.tb, s.m, s.n, std::min(s.k, 1), s.count, s.extra, 0.5, 0}, CUDA_R_16BF, CUDA_R_16BF,
                        CUBLAS_COMPUTE_32F);
  }
}

TEST_CASE("bf16 results are rounded to nearest, ties to even; TF32 inputs to 10 bits of mantissa") {
  const Handle handle;
  const float one = 1, zero = 0, tie_down = 1 + 1.f / 256, tie_up = 1 + 3.f / 256, above = tie_down + 1.f / 4096;
  const auto bf = [&](float v) {  // v = 1 * v, with v in f32 split into exact parts: hi * 1 + lo * 1
    const float hi = widen(narrow(v)), lo = v - hi;
    const Array<bf16> a({narrow(hi), narrow(lo)}), b({narrow(1), narrow(1)}), c(1);
    REQUIRE(cublasGemmEx(handle.h, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 2, &one, a.p, CUDA_R_16BF, 1, b.p, CUDA_R_16BF, 2,
                         &zero, c.p, CUDA_R_16BF, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    return widen(c.host()[0]);
  };
  CHECK(bf(tie_down) == 1);
  CHECK(bf(tie_up) == 1 + 4.f / 256);
  CHECK(bf(above) == 1 + 2.f / 256);
  CHECK(bf(-tie_up) == -1 - 4.f / 256);
  CHECK(std::isnan(bf(NAN)));
  const auto tf32 = [&](float v, cublasComputeType_t compute, cublasMath_t mode) {
    const Array<float> a({v}), b({1.f}), c(1);
    cublasSetMathMode(handle.h, mode);
    REQUIRE(cublasGemmEx(handle.h, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.p, CUDA_R_32F, 1, b.p, CUDA_R_32F, 1,
                         &zero, c.p, CUDA_R_32F, 1, compute, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    return c.host()[0];
  };
  const float v = 1 + 5.f / 4096;
  CHECK(tf32(v, CUBLAS_COMPUTE_32F, CUBLAS_DEFAULT_MATH) == v);
  CHECK(tf32(v, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_DEFAULT_MATH) == 1 + 4.f / 4096);
  CHECK(tf32(v, CUBLAS_COMPUTE_32F, CUBLAS_TF32_TENSOR_OP_MATH) == 1 + 4.f / 4096);
  CHECK(std::isinf(tf32(INFINITY, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_DEFAULT_MATH)));
}

TEST_CASE("pointers to matrices lie on the device") {
  const Handle handle;
  const Case s{CUBLAS_OP_N, CUBLAS_OP_T, 3, 2, 4, 3, 0, 1, 0};
  const auto a = noise<float>(36, 1), b = noise<float>(24, 2);
  const Array<float> da(a), db(b), dc(18);
  std::vector<const float*> as, bs;
  std::vector<float*> cs;
  for (int i = 0; i < 3; ++i) as.push_back(da.p + 12 * i), bs.push_back(db.p + 8 * i), cs.push_back(dc.p + 6 * i);
  const Array<const float*> pa(as), pb(bs);
  const Array<float*> pc(cs);
  const float one = 1, zero = 0;
  const auto run = [&](const float** x) {
    return cublasGemmBatchedEx(handle.h, s.ta, s.tb, 3, 2, 4, &one, reinterpret_cast<const void* const*>(x), CUDA_R_32F,
                               3, reinterpret_cast<const void* const*>(pb.p), CUDA_R_32F, 2, &zero,
                               reinterpret_cast<void* const*>(pc.p), CUDA_R_32F, 3, 3, CUBLAS_COMPUTE_32F,
                               CUBLAS_GEMM_DEFAULT);
  };
  REQUIRE(run(pa.p) == CUBLAS_STATUS_SUCCESS);
  CHECK(dc.host() == expected(s, a, b, std::vector<float>(18)));
  CHECK(run(as.data()) == CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(contains(error_of(cudaGetLastError()), "cuBLAS: the pointers of a are not device memory"));
}

TEST_CASE("what cuBLAS refuses") {
  const Handle handle;
  const Array<float> a(std::vector<float>(12)), b(std::vector<float>(12)), c(12);
  const float one = 1, zero = 0;
  const auto run = [&](int m, int lda_, const float* pa, cublasHandle_t h) {
    const auto s = cublasSgemmStridedBatched(h, CUBLAS_OP_N, CUBLAS_OP_N, m, 3, 4, &one, pa, lda_, 0, b.p, 4, 0, &zero,
                                             c.p, 3, 0, 1);
    return s;
  };
  CHECK(run(3, 3, a.p, handle.h) == CUBLAS_STATUS_SUCCESS);
  CHECK(run(3, 2, a.p, handle.h) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(run(-1, 3, a.p, handle.h) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(run(0, 3, a.p, handle.h) == CUBLAS_STATUS_SUCCESS);
  CHECK(run(3, 3, a.p, nullptr) == CUBLAS_STATUS_NOT_INITIALIZED);
  float host[12] = {};
  CHECK(run(3, 3, host, handle.h) == CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(contains(error_of(cudaGetLastError()), "matrix 0 of a is not device memory"));
  CHECK(run(3, 4, a.p, handle.h) == CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(contains(error_of(cudaGetLastError()), "exceeds its allocation"));
  CHECK(cublasGemmEx(handle.h, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.p, CUDA_R_32F, 1, b.p, CUDA_R_16BF, 1, &zero,
                     c.p, CUDA_R_32F, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(std::string(cublasGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED)) == "CUBLAS_STATUS_NOT_SUPPORTED");
}
