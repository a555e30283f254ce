// Range checks of indices: one element for each thread, 8 bytes read and 8 written.
#include "ops/indices.h"

#include "cuda/fault.cuh"
#include "cuda/launch.h"

namespace moegrad::cuda {

__global__ void __launch_bounds__(kBlock)
    check_index_kernel(const i64* index, i64* y, i64 n, i64 low, i64 high, bool wraps, Fault* fault, int number) {
  for (i64 i = first_index(); i < n; i += grid_stride()) {
    i64 v = index[i];
    if (v < low || v >= high) {
      report(fault, number, v);
      v = -1;
    } else if (wraps && v < 0) {
      v += high;
    }
    y[i] = v;
  }
}

void check_index(const i64* index, i64* y, i64 n, const detail::IndexRange& range, int fault) {
  const Grid g = grid_for(n);
  launch("check_index", g.blocks, g.threads, 0, check_index_kernel, index, y, n, range.low, range.high, range.wraps,
         faults(), fault);
}

}  // namespace moegrad::cuda
