// What one op costs when its tensors hold four elements: all of it is the framework's own work. One thread.
//
//   forward    no operand requires a gradient
//   recorded   every operand does: the op enters the graph, and the graph is let go afterwards
//   backward   time of grad() through a chain of 64 ops, divided by 64: every operand receives its gradient
//
// The counter `per_op` of the rows `_median` is the number to look at. Targets: 500 ns forward and recorded, 1000 ns
// backward. Only these rows: bench_eager_op | grep median
#include <benchmark/benchmark.h>

#include <ctime>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/unary.h"

using namespace moegrad;

namespace {

constexpr int kChain = 64;
constexpr int kRepetitions = 15;

struct Op {
  const char* name;
  Shape shape;
  Tensor (*apply)(const Tensor& x, const Tensor& w);
};
const Op kOps[] = {
    {"add", {4}, [](const Tensor& x, const Tensor& w) { return add(x, w); }},
    {"mul", {4}, [](const Tensor& x, const Tensor& w) { return mul(x, w); }},
    {"exp", {4}, [](const Tensor& x, const Tensor&) { return exp(x); }},
    {"sum", {4, 1}, [](const Tensor& x, const Tensor&) { return sum(x, 1, keep_dims); }},
    {"matmul", {2, 2}, [](const Tensor& x, const Tensor& w) { return matmul(x, w); }},
};

// Operands of a chain: each op has a second operand of its own, as layers have weights of their own.
struct Operands {
  Tensor x;
  std::vector<Tensor> w;
  Operands(const Shape& shape, bool differentiable) : x(full(shape, 0.5)) {
    for (int i = 0; i < kChain; ++i) w.push_back(full(shape, 0.5));
    if (!differentiable) return;
    x.requires_grad_();
    for (Tensor& v : w) v.requires_grad_();
  }
  Tensor run(const Op& op) const {
    Tensor y = x;
    for (const Tensor& v : w) y = op.apply(y, v);
    return y;
  }
};

void report(benchmark::State& state) {
  state.counters["per_op"] =
      benchmark::Counter(kChain, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void forward(benchmark::State& state, const Op& op, bool differentiable) {
  const Operands operands(op.shape, differentiable);
  for (auto _ : state) benchmark::DoNotOptimize(operands.run(op));
  report(state);
}

// Not the wall clock: this program may share its core with others.
double seconds_of_thread() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void backward(benchmark::State& state, const Op& op) {
  const Operands operands(op.shape, true);
  std::vector<Tensor> wanted = operands.w;
  const bool one_operand = std::string(op.name) == "exp" || std::string(op.name) == "sum";
  if (one_operand) wanted.clear();
  wanted.push_back(operands.x);
  const Tensor dy = ones(op.shape);
  for (auto _ : state) {
    const Tensor y = operands.run(op);
    const double begin = seconds_of_thread();
    benchmark::DoNotOptimize(grad(y, wanted, dy));
    state.SetIterationTime(seconds_of_thread() - begin);
  }
  report(state);
}

[[maybe_unused]] const bool registered = [] {
  set_num_threads(1);
  for (const Op& op : kOps) {
    const std::string name = op.name;
    const auto rows = {benchmark::RegisterBenchmark(("forward/" + name).c_str(), forward, op, false),
                       benchmark::RegisterBenchmark(("recorded/" + name).c_str(), forward, op, true),
                       benchmark::RegisterBenchmark(("backward/" + name).c_str(), backward, op)->UseManualTime()};
    for (auto* row : rows)
      row->Repetitions(kRepetitions)->MinTime(0.02)->Unit(benchmark::kMicrosecond)->ReportAggregatesOnly();
  }
  return true;
}();

}  // namespace
