// What a structured one-hot costs: time and bytes of gpn,gnd->gpd at fixed slots while the number of tokens N grows.
// Bytes are those of every storage made beyond the result.
#include <benchmark/benchmark.h>

#include <random>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/einsum.h"
#include "ops/one_hot.h"

using namespace moegrad;

namespace {

constexpr i64 kSlots = 2048, kWidth = 64;

Tensor random_slots(i64 tokens) {
  std::mt19937_64 engine(5);
  std::vector<i64> v(kSlots);
  for (i64& x : v) x = static_cast<i64>(engine() % static_cast<u64>(tokens));
  return from_vector(v, {1, kSlots});
}

void forward(benchmark::State& state, bool structured) {
  const i64 tokens = state.range(0);
  const Tensor hot = one_hot(random_slots(tokens), tokens);
  const Tensor dispatch = structured ? hot : dense(hot), x = ones({1, tokens, kWidth});
  no_grad guard;
  i64 beyond = 0;
  for (auto _ : state) {
    memory::AllocationLog log;
    benchmark::DoNotOptimize(einsum("gpn,gnd->gpd", dispatch, x).bytes());
    beyond = log.bytes() - kSlots * kWidth * 4;
  }
  state.counters["bytes_beyond_result"] = static_cast<double>(beyond);
}

void step(benchmark::State& state) {
  const i64 tokens = state.range(0);
  const Tensor dispatch = one_hot(random_slots(tokens), tokens);
  Tensor x = ones({1, tokens, kWidth});
  x.requires_grad_();
  for (auto _ : state)
    benchmark::DoNotOptimize(grad(einsum("gpn,gnd->gpd", dispatch, x), {x}, ones({1, kSlots, kWidth})));
}

}  // namespace

BENCHMARK_CAPTURE(forward, structured, true)->RangeMultiplier(4)->Range(1024, 262144)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(forward, dense, false)->RangeMultiplier(2)->Range(1024, 4096)->Unit(benchmark::kMicrosecond);
BENCHMARK(step)->RangeMultiplier(4)->Range(1024, 262144)->Unit(benchmark::kMicrosecond);
