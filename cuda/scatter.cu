// The last entry at every position: one thread for each entry, and the largest number stays. A maximum of integers is
// the same in any order.
#include "ops/scatter.h"

#include "core/fill.h"
#include "cuda/launch.h"

namespace moegrad::cuda {

__global__ void __launch_bounds__(kBlock) last_entries_kernel(const i64* index, i64* last, LastPlan p) {
  for (i64 i = first_index(); i < p.outer * p.m * p.inner; i += grid_stride()) {
    const i64 at = index[i];
    if (at < 0) continue;
    const i64 inner = i % p.inner, j = i / p.inner % p.m, outer = i / p.inner / p.m;
    atomicMax(reinterpret_cast<long long*>(last + (outer * p.n + at) * p.inner + inner), static_cast<long long>(j));
  }
}

void last_entries(const i64* index, i64* last, const LastPlan& p) {
  const Grid g = grid_for(p.outer * p.m * p.inner);
  fill_value(last, p.outer * p.n * p.inner, i64{-1});
  launch("last_entries", g.blocks, g.threads, 0, last_entries_kernel, index, last, p);
}

}  // namespace moegrad::cuda
