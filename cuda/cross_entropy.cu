// Cross-entropy of rows of logits with the numbers of their classes, and its gradient.
//
// A team for each row, which reads it once (twice under label smoothing); the gradient reads and writes each element
// once. A target that is neither a class nor the ignored index is taken as ignored, and reported.
#include "ops/cross_entropy.h"

#include "cuda/exp_sum.cuh"
#include "cuda/fault.cuh"
#include "cuda/rows.cuh"

namespace moegrad::cuda {
namespace {

__device__ bool is_class(i64 target, const CrossEntropyRows& plan) {
  return target >= 0 && target < plan.classes && target != plan.ignore_index;
}

// One thread's part of a row, V elements at a time: n is a multiple of V.
template <int V, class F> __device__ ExpSum<F> part_of_exp_sum(const F* row, i64 n, Team team) {
  ExpSum<F> s = ExpSum<F>::none();
#pragma unroll 2
  for (i64 i = i64{team.rank()} * V; i < n; i += i64{team.size} * V) {
    const Pack<F, V> pack = *reinterpret_cast<const Pack<F, V>*>(row + i);
    F largest = pack.element[0];
#pragma unroll
    for (int v = 1; v < V; ++v) largest = LargerNumber{}(largest, pack.element[v]);
    s.add(pack.element, largest);
  }
  return s;
}
template <class F> __device__ F part_of_sum(const F* row, i64 n, F shift, Team team) {
  F sum = 0;
  for (i64 i = team.rank(); i < n; i += team.size) sum += row[i] - shift;
  return sum;
}

template <int V, class F>
__global__ void __launch_bounds__(kWidest)
    cross_entropy_rows_kernel(const F* x, const i64* target, F* loss, F* lse, CrossEntropyRows plan, Team team) {
  const F smoothing = static_cast<F>(plan.smoothing);
  for (i64 first = i64{blockIdx.x} * team.count(); first < plan.rows; first += i64{gridDim.x} * team.count()) {
    const i64 r = first + team.number(), own = r < plan.rows ? target[r] : plan.ignore_index;
    const i64 n = is_class(own, plan) ? plan.classes : 0;
    const F* row = x + r * plan.classes;
    ExpSum<F> s = team.reduce(part_of_exp_sum<V>(row, n, team), JoinExpSums{}, ExpSum<F>::none());
    s.sum += s.top - s.top;  // NaN where the largest is infinite
    F even = 0;
    if (smoothing != 0)
      even = team.reduce(part_of_sum(row, n, s.top, team), Plus{}, F(0)) / static_cast<F>(plan.classes);
    if (r >= plan.rows || team.rank() != 0) continue;
    const F log_total = math::log(s.sum);
    lse[r] = n > 0 ? s.top + log_total : F(0);
    loss[r] = n > 0 ? log_total - (1 - smoothing) * (row[own] - s.top) - smoothing * even : F(0);
  }
}

// loss = lse - (1 - s) x_target - s mean(x);  d lse / d x_i = e^(x_i - lse)
template <int V, class F>
__global__ void __launch_bounds__(kWidest)
    cross_entropy_gradient_kernel(const F* x, const i64* target, const F* lse, const F* dy, F* dx,
                                  CrossEntropyRows plan, Team team) {
  const F smoothing = static_cast<F>(plan.smoothing), floor = smoothing / static_cast<F>(plan.classes);
  for (i64 first = i64{blockIdx.x} * team.count(); first < plan.rows; first += i64{gridDim.x} * team.count()) {
    const i64 r = first + team.number();
    if (r >= plan.rows) continue;
    const i64 own = is_class(target[r], plan) ? target[r] : -1;
    const F shift = lse[r], d = own >= 0 ? dy[r] : F(0);
    for (i64 i = i64{team.rank()} * V; i < plan.classes; i += i64{team.size} * V) {
      Pack<F, V> pack = *reinterpret_cast<const Pack<F, V>*>(x + r * plan.classes + i);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        F& e = pack.element[v];
        e = own >= 0 ? d * (math::exp(e - shift) - floor) : F(0);
        if (i + v == own) e -= d * (1 - smoothing);
      }
      *reinterpret_cast<Pack<F, V>*>(dx + r * plan.classes + i) = pack;
    }
  }
}

__global__ void __launch_bounds__(kBlock)
    check_targets_kernel(const i64* target, i64 n, i64 classes, i64 ignore_index, int number, Fault* fault) {
  for (i64 i = first_index(); i < n; i += grid_stride()) {
    const i64 t = target[i];
    if ((t < 0 || t >= classes) && t != ignore_index) report(fault, number, t);
  }
}

constexpr int kElements = 16;  // of a row for each thread, at least

}  // namespace

template <class F>
void cross_entropy_rows(const F* x, const i64* target, F* loss, F* lse, const CrossEntropyRows& plan) {
  const RowGrid g = rows_grid(plan.rows, plan.classes, kElements, kWidest / 2);
  const auto kernel =
      in_packs(plan.classes, x) ? cross_entropy_rows_kernel<kPack<F>, F> : cross_entropy_rows_kernel<1, F>;
  launch("cross_entropy", g.blocks, g.threads, 0, kernel, x, target, loss, lse, plan, g.team);
}

template <class F>
void cross_entropy_gradient(const F* x, const i64* target, const F* lse, const F* dy, F* dx,
                            const CrossEntropyRows& plan) {
  const RowGrid g = rows_grid(plan.rows, plan.classes, kElements, kWidest / 2);
  const auto kernel = in_packs<F, F>(plan.classes, x, dx) ? cross_entropy_gradient_kernel<kPack<F>, F>
                                                          : cross_entropy_gradient_kernel<1, F>;
  launch("cross_entropy", g.blocks, g.threads, 0, kernel, x, target, lse, dy, dx, plan, g.team);
}

void check_targets(const i64* target, i64 n, i64 classes, i64 ignore_index, int fault) {
  const Grid g = grid_for(n, 4);
  launch("cross_entropy", g.blocks, g.threads, 0, check_targets_kernel, target, n, classes, ignore_index, fault,
         faults());
}

#define MOEGRAD_CROSS_ENTROPY(F)                                                           \
  template void cross_entropy_rows(const F*, const i64*, F*, F*, const CrossEntropyRows&); \
  template void cross_entropy_gradient(const F*, const i64*, const F*, const F*, F*, const CrossEntropyRows&);
MOEGRAD_CROSS_ENTROPY(float)
MOEGRAD_CROSS_ENTROPY(double)

}  // namespace moegrad::cuda
