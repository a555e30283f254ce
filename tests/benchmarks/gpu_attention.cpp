// Attention on the GPU, forward and backward by themselves, beside the rate of this GPU's f32 matrix products in the
// same run: the kernels multiply in f32. Prints lines `name value unit`.
//
//   bench_gpu_attention [--small]    --small: tiny sizes, to see that it works
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/device.h"
#include "ops/attention.h"
#include "ops/matmul.h"
#include "ops/random.h"
#include "tests/benchmarks/gpu_timing.h"

using namespace moegrad;
using namespace benchmarks;

namespace {

bool small = false;

double seconds_of(const std::function<void()>& run) { return median_seconds(run, small); }

Tensor normal(const Shape& shape, DType dtype) {
  static Random random(1);
  return random_normal(shape, 0, 1, random.next(), dtype);
}

/// Multiplications and additions a second of large f32 products.
double gemm_rate() {
  const i64 n = small ? 64 : 8192;
  const Tensor a = normal({n, n}, DType::f32), b = normal({n, n}, DType::f32);
  const double rate = 2.0 * static_cast<double>(n * n * n) / seconds_of([&] { matmul(a, b); });
  report("gemm.f32", rate * 1e-12, "TFLOP/s");
  return rate;
}

struct Case {
  i64 batch, heads, length, width;
  DType dtype;
  double dropout = 0;
};

/// Counts what the equations need, of scores that are seen: two products of all of them forward, five backward.
void measure(const Case& c, double peak) {
  const Shape shape{c.batch, c.heads, c.length, c.width};
  const Tensor q = normal(shape, c.dtype).requires_grad_(), k = normal(shape, c.dtype).requires_grad_(),
               v = normal(shape, c.dtype).requires_grad_(), dy = normal(shape, c.dtype);
  AttentionOptions options{.causal = true, .dropout = c.dropout};
  Random random(2);
  if (c.dropout > 0) options.draw = random.next();
  const double product =
      2.0 * static_cast<double>(c.batch * c.heads * c.length * (c.length + 1) / 2) * static_cast<double>(c.width);
  const std::string name_of =
      fmt::format("attention.{}.{}x{}{}", name(c.dtype), c.length, c.width, c.dropout > 0 ? ".dropout" : "");
  const auto result = [&](const char* what, double products, double time) {
    report(fmt::format("{}.{}.time", name_of, what), time * 1e3, "ms");
    report(fmt::format("{}.{}.rate", name_of, what), products * product / time * 1e-12, "TFLOP/s");
    report(fmt::format("{}.{}.fraction", name_of, what), products * product / time / peak, "of-gemm");
  };
  result("forward", 2, seconds_of([&] {
           const no_grad guard;
           attention(q, k, v, options);
         }));
  const Tensor y = attention(q, k, v, options);
  result("backward", 5, seconds_of([&] { grad(y, {q, k, v}, dy, {.retain_graph = true}); }));
}

void measure_all() {
  const double peak = gemm_rate();
  const i64 scale = small ? 16 : 1;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    measure({32 / scale, 8, 256 / scale, 64, dtype}, peak);
    measure({4, 8, 2048 / scale, 64, dtype}, peak);
    measure({4, 8, 2048 / scale, 128, dtype}, peak);
  }
  measure({32 / scale, 8, 256 / scale, 64, DType::f32, 0.1}, peak);
  measure({16, 8, 32, 16, DType::f32}, peak);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") != 0) {
      fmt::print(stderr, "bench_gpu_attention: unknown option {}\n", argv[i]);
      return 2;
    }
    small = true;
  }
  try {
    set_default_device(Device::cuda);
    fmt::print("# {}\n", cuda::device_name());
    measure_all();
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_gpu_attention: {}\n", e.what());
    return 1;
  }
  return 0;
}
