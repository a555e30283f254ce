// Ops against a plain copy of as many bytes: the counter `copies` is the op's time over the copy's, measured in the
// same run. A copy reads and writes every element once, so an op that reads one tensor and writes one costs at least 1.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/ops.h"

namespace {

using namespace moegrad;
using Clock = std::chrono::steady_clock;

double median_seconds(const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = 0; i < 31; ++i) {
    const auto start = Clock::now();
    run();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 15, times.end());
  return times[15];
}

double copy_seconds(const Tensor& x) {
  const i64 bytes = x.size() * byte_size(x.dtype());
  return median_seconds([&] {
    const Tensor y = empty_like(x);
    const std::byte* from = x.bytes();
    std::byte* to = y.bytes();
    parallel_for(bytes, 1 << 16, [&](i64 begin, i64 end) { std::memcpy(to + begin, from + begin, end - begin); });
    benchmark::DoNotOptimize(to);
  });
}

Tensor wave(const Shape& shape) {
  std::vector<float> v(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(static_cast<i64>(i * 2654435761u % 2001) - 1000) * 3e-3f;
  return from_vector(v, shape);
}

void report(benchmark::State& state, const Tensor& x, const std::function<Tensor()>& op) {
  for (auto _ : state) benchmark::DoNotOptimize(op().body());
  const double seconds = median_seconds([&] { benchmark::DoNotOptimize(op().body()); });
  state.counters["copies"] = seconds / copy_seconds(x);
  state.counters["ns_per_element"] = seconds * 1e9 / static_cast<double>(x.size());
}

/// y = f(x) alone, and its gradient alone.
void forward(benchmark::State& state, const Shape& shape, const std::function<Tensor(const Tensor&)>& f) {
  no_grad guard;
  const Tensor x = wave(shape);
  report(state, x, [&] { return f(x); });
}
void backward(benchmark::State& state, const Shape& shape, const std::function<Tensor(const Tensor&)>& f) {
  Tensor x = wave(shape);
  x.requires_grad_();
  const Tensor y = f(x), dy = wave(y.shape());
  report(state, x, [&] { return grad(y, {x}, dy, {.retain_graph = true})[0]; });
}

const Shape kWide{4096, 1024}, kExperts{65536, 8}, kColumns{16, 1024, 256}, kNarrow{512, 128};

#define MOEGRAD_BENCH(name, shape, expression)                                                        \
  BENCHMARK_CAPTURE(forward, name, shape, [](const Tensor& x) { return expression; })->UseRealTime(); \
  BENCHMARK_CAPTURE(backward, name, shape, [](const Tensor& x) { return expression; })->UseRealTime()

MOEGRAD_BENCH(softmax_rows, kWide, softmax(x, -1));
MOEGRAD_BENCH(softmax_8_experts, kExperts, softmax(x, -1));
MOEGRAD_BENCH(softmax_columns, kColumns, softmax(x, 1));
MOEGRAD_BENCH(log_softmax_rows, kWide, log_softmax(x, -1));
MOEGRAD_BENCH(relu, kWide, relu(x));
MOEGRAD_BENCH(gelu, kWide, gelu(x));
MOEGRAD_BENCH(gelu_tanh, kWide, gelu_tanh(x));
MOEGRAD_BENCH(silu, kWide, silu(x));
MOEGRAD_BENCH(softplus, kWide, softplus(x));
MOEGRAD_BENCH(swiglu_halves, kWide, swiglu(slice(x, 1, {0, 512}), slice(x, 1, {512})));
MOEGRAD_BENCH(layer_norm, kWide, layer_norm(x, wave({1024}), wave({1024})));
MOEGRAD_BENCH(layer_norm_128, kNarrow, layer_norm(x, wave({128}), wave({128})));
MOEGRAD_BENCH(rms_norm, kWide, rms_norm(x, wave({1024})));
MOEGRAD_BENCH(cross_entropy, kWide, cross_entropy(x, zeros({4096}, DType::i64)));
MOEGRAD_BENCH(dropout, kWide, dropout(x, 0.1, Random(1).next()));
MOEGRAD_BENCH(attention_32, (Shape{16, 8, 32, 16}), attention(x, x, x, {.causal = true}));
MOEGRAD_BENCH(attention_32_dropout, (Shape{16, 8, 32, 16}),
              attention(x, x, x, {.causal = true, .dropout = 0.1, .draw = Random(1).next()}));
MOEGRAD_BENCH(attention_1024, (Shape{2, 8, 1024, 64}), attention(x, x, x, {}));
MOEGRAD_BENCH(attention_1024_causal, (Shape{2, 8, 1024, 64}), attention(x, x, x, {.causal = true}));
MOEGRAD_BENCH(attention_1024_composite, (Shape{2, 8, 1024, 64}),
              matmul(softmax(matmul(x, transpose(x)) * 0.125, -1), x));
MOEGRAD_BENCH(attention_32_composite, (Shape{16, 8, 32, 16}), matmul(softmax(matmul(x, transpose(x)) * 0.25, -1), x));

}  // namespace
