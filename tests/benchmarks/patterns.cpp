// What notation costs: einsum, rearrange, reduce and repeat on tensors of a few elements, beside the ops that they are
// made of. One thread, 4-byte floats, no graph.
//
//   found     the plan is in the cache, as at every call but the first
//   planned   every call has a text that is not in the cache: the equation is read, ordered and lowered
//   plain     the same ops, called by hand
//
// bench_patterns | grep median
#include <benchmark/benchmark.h>

#include <string>

#include "core/parallel.h"
#include "ops/einops.h"
#include "ops/einsum.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/views.h"

using namespace moegrad;

namespace {

void einsum_found(benchmark::State& state, const char* equation, const std::vector<Shape>& shapes) {
  std::vector<Tensor> x;
  for (const Shape& s : shapes) x.push_back(full(s, 0.5));
  for (auto _ : state) benchmark::DoNotOptimize(einsum(equation, x));
}

// Spaces carry no meaning, but make another text: there are more of them in turn than the cache holds.
void einsum_planned(benchmark::State& state, const char* equation, const std::vector<Shape>& shapes) {
  std::vector<Tensor> x;
  for (const Shape& s : shapes) x.push_back(full(s, 0.5));
  std::vector<std::string> texts;
  for (std::size_t before = 0; before < 64; ++before)
    for (std::size_t after = 0; after < 32; ++after)
      texts.push_back(std::string(before, ' ') + equation + std::string(after, ' '));
  static std::size_t next = 0;  // repetitions go on where the one before stopped
  for (auto _ : state) benchmark::DoNotOptimize(einsum(texts[next++ % texts.size()], x));
}

template <class Call> void plain(benchmark::State& state, Call call) {
  for (auto _ : state) benchmark::DoNotOptimize(call());
}

[[maybe_unused]] const bool registered = [] {
  set_num_threads(1);
  const auto row = [](const std::string& name, auto call) {
    benchmark::RegisterBenchmark(name.c_str(), call)
        ->Repetitions(15)
        ->MinTime(0.02)
        ->Unit(benchmark::kNanosecond)
        ->ReportAggregatesOnly();
  };
  const auto equation = [&](const char* text, std::vector<Shape> shapes) {
    const std::string name = std::string("einsum ") + text;
    row(name + "/found", [=](benchmark::State& s) { einsum_found(s, text, shapes); });
    row(name + "/planned", [=](benchmark::State& s) { einsum_planned(s, text, shapes); });
  };
  equation("ij,jk->ik", {{2, 2}, {2, 2}});
  equation("bshd,bthd->bhst", {{1, 2, 2, 2}, {1, 2, 2, 2}});
  equation("ab,bc,cd->ad", {{2, 2}, {2, 2}, {2, 2}});
  equation("ab,bc,cd,de,ef,fg->ag", {{2, 2}, {2, 2}, {2, 2}, {2, 2}, {2, 2}, {2, 2}});
  const Tensor a = full({2, 2}, 0.5), x = full({2, 4, 3}, 0.5);
  row("matmul/plain", [=](benchmark::State& s) { plain(s, [&] { return matmul(a, a); }); });
  row("rearrange b (h d) n -> b h n d/found", [=](benchmark::State& s) {
    plain(s, [&] { return rearrange(x, "b (h d) n -> b h n d", {{"h", 2}}); });
  });
  row("rearrange b (h d) n -> b h n d/plain", [=](benchmark::State& s) {
    plain(s, [&] { return permute(reshape(x, {2, 2, 2, 3}), {0, 1, 3, 2}); });
  });
  row("reduce b (h 2) n -> b h n/found",
      [=](benchmark::State& s) { plain(s, [&] { return reduce(x, "b (h 2) n -> b h n", "sum"); }); });
  row("reduce b (h 2) n -> b h n/plain", [=](benchmark::State& s) {
    plain(s, [&] { return sum(reshape(x, {2, 2, 2, 3}), 2); });
  });
  row("repeat b h n -> b h n r/found", [=](benchmark::State& s) {
    plain(s, [&] { return repeat(x, "b h n -> b h n r", {{"r", 2}}); });
  });
  row("repeat b h n -> b h n r/plain", [=](benchmark::State& s) {
    plain(s, [&] { return expand(reshape(x, {2, 4, 3, 1}), {2, 4, 3, 2}); });
  });
  return true;
}();

}  // namespace
