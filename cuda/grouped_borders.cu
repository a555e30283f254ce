#include "cuda/grouped_borders.h"

#include <string>

#include "cuda/fault.cuh"

namespace moegrad::cuda {
namespace {

// One block.
__global__ void __launch_bounds__(kBlock)
    borders_kernel(const i64* begin, i64* borders, i64 groups, i64 rows, Fault* fault, int number) {
  __shared__ int bad;
  if (threadIdx.x == 0) bad = 0;
  __syncthreads();
  for (i64 e = threadIdx.x; e <= groups; e += blockDim.x) {
    const bool fits = (e > 0 ? begin[e] >= begin[e - 1] : begin[e] == 0) && begin[e] <= rows;
    if (fits) continue;
    atomicOr(&bad, 1);
    report(fault, number, begin[e]);
  }
  __syncthreads();
  for (i64 e = threadIdx.x; e <= groups; e += blockDim.x) borders[e] = bad ? 0 : begin[e];
}

}  // namespace

void trusted_borders(const char* op, const i64* begin, i64* borders, const GroupedSizes& s) {
  const std::string rule = std::string(op) + ": begin must ascend from 0 to at most " + std::to_string(s.rows);
  launch(op, dim3(1), threads_for(s.groups + 1), 0, borders_kernel, begin, borders, s.groups, s.rows, faults(),
         fault_number(rule));
}

}  // namespace moegrad::cuda
