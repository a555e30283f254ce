// Products of integer matrices: a block of 16 x 16 threads computes a tile of y of that size, one element for each
// thread, over tiles of a and b in shared memory (4 KB): each element of a and b is read from global memory once for 16
// uses.
#include "ops/integer_matmul.h"

#include "cuda/launch.h"

namespace moegrad::cuda {
namespace {

constexpr int kTile = 16;

struct IntegerProduct {
  const i64 *a, *b;
  i64* y;
  i64 m, n, k, tiles_down, tiles_across;
  Nest<2> batch;
};

__global__ void __launch_bounds__(kTile* kTile) integer_matmul_kernel(IntegerProduct p, i64 tiles) {
  __shared__ i64 of_a[kTile][kTile], of_b[kTile][kTile];
  const int down = static_cast<int>(threadIdx.y), across = static_cast<int>(threadIdx.x);
  for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const i64 row = tile / p.tiles_across % p.tiles_down * kTile + down,
              column = tile % p.tiles_across * kTile + across;
    const i64 entry = tile / (p.tiles_across * p.tiles_down);
    const i64 *a = p.a, *b = p.b;
    for (i64 axis = p.batch.rank - 1, rest = entry; axis >= 0; rest /= p.batch.sizes[axis--]) {
      a += rest % p.batch.sizes[axis] * p.batch.strides[0][axis];
      b += rest % p.batch.sizes[axis] * p.batch.strides[1][axis];
    }
    u64 sum = 0;  // unsigned: wraps around
    for (i64 first = 0; first < p.k; first += kTile) {
      of_a[down][across] = row < p.m && first + across < p.k ? a[row * p.k + first + across] : 0;
      of_b[down][across] = first + down < p.k && column < p.n ? b[(first + down) * p.n + column] : 0;
      __syncthreads();
      for (int i = 0; i < kTile; ++i) sum += static_cast<u64>(of_a[down][i]) * static_cast<u64>(of_b[i][across]);
      __syncthreads();
    }
    if (row < p.m && column < p.n) p.y[(entry * p.m + row) * p.n + column] = static_cast<i64>(sum);
  }
}

}  // namespace

void integer_matmul(const i64* a, const i64* b, i64* y, i64 m, i64 n, i64 k, const Nest<2>& batch) {
  const i64 down = (m + kTile - 1) / kTile, across = (n + kTile - 1) / kTile, tiles = batch.elements() * down * across;
  const IntegerProduct p{a, b, y, m, n, k, down, across, batch};
  launch("integer_matmul", blocks_for(tiles), dim3(kTile, kTile), 0, integer_matmul_kernel, p, tiles);
}

}  // namespace moegrad::cuda
