// Products of uneven groups of rows.
//
// Where the host may know the borders of the groups (sizes.borders), each group is one call of cuBLAS with its exact
// size. In a capture it may not: the graph will be replayed with other borders. Then
//   grouped_matmul  covers the rows by blocks of up to 128, each within one group: at most rows / 128 + groups of them,
//                   so their number is known. Every block is a product of one batch over arrays of addresses, which a
//                   kernel fills, into a buffer; a second kernel puts rows in their places. The last block of a group
//                   multiplies rows of the next one, too, which nobody reads.
//   grouped_outer   sums in plain arithmetic: 64 x 64 results of a group for each block of threads (cuda/tile.cuh).
#include "ops/grouped_matmul.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/dtype.h"
#include "cuda/cublas.h"
#include "cuda/fault.cuh"
#include "cuda/tile.cuh"

namespace moegrad::cuda {
namespace {

// ---- borders that only the device knows

// One block: a copy of begin that can be trusted. If begin does not ascend from 0 to at most `rows`, all groups are
// empty, and the fault is reported.
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

void trust(const char* op, const i64* begin, i64* borders, const GroupedSizes& s) {
  const std::string rule = std::string(op) + ": begin must ascend from 0 to at most " + std::to_string(s.rows);
  launch(op, dim3(1), threads_for(s.groups + 1), 0, borders_kernel, begin, borders, s.groups, s.rows, faults(),
         fault_number(rule));
}

// ---- grouped_matmul by blocks of rows

constexpr i64 kBlockRows = 128;

// The blocks of group e are numbered from borders[e] / 128 + e on: its ceil(rows / 128) blocks fit before those of the
// next group. A block reads `height` rows of x from first_row on, moved up where x ends before.
struct RowBlocks {
  const i64* borders;
  i64 groups, rows, height;

  __device__ i64 first_block(i64 e) const { return borders[e] / kBlockRows + e; }
  /// The group of a block.
  __device__ i64 group_of(i64 block) const {
    i64 low = 0, high = groups;
    while (high - low > 1) {
      const i64 middle = (low + high) / 2;
      (first_block(middle) <= block ? low : high) = middle;
    }
    return low;
  }
  /// The group of a row; `groups` for a row of none.
  __device__ i64 group_of_row(i64 row) const {
    if (row >= borders[groups]) return groups;
    i64 low = 0, high = groups;  // the last group that begins at or before the row is not empty
    while (high - low > 1) {
      const i64 middle = (low + high) / 2;
      (borders[middle] <= row ? low : high) = middle;
    }
    return low;
  }
  __device__ i64 first_row(i64 e, i64 block) const {
    const i64 first = borders[e] + (block - first_block(e)) * kBlockRows, last = rows - height;
    return first < last ? first : last;
  }
};

template <class F> struct BlockAddresses {
  const F** x;
  const F** w;
  F** y;
};

// One thread for each block of rows.
template <class F>
__global__ void __launch_bounds__(kBlock) block_addresses_kernel(const F* x, const F* w, F* y, GroupedSizes s,
                                                                 RowBlocks blocks, i64 count, BlockAddresses<F> to) {
  for (i64 b = first_index(); b < count; b += grid_stride()) {
    const i64 e = blocks.group_of(b);
    to.x[b] = x + blocks.first_row(e, b) * s.inner;
    to.w[b] = w + e * s.inner * s.outer;
    to.y[b] = y + b * kBlockRows * s.outer;
  }
}

// One warp for each row of y: its part of the buffer, or zeros for a row of no group.
template <class F>
__global__ void __launch_bounds__(kBlock) place_rows_kernel(const F* buffer, F* y, i64 columns, RowBlocks blocks) {
  for (i64 row = first_index() / kWarp; row < blocks.rows; row += grid_stride() / kWarp) {
    const i64 e = blocks.group_of_row(row);
    const F* from = nullptr;
    if (e < blocks.groups) {
      const i64 b = blocks.first_block(e) + (row - blocks.borders[e]) / kBlockRows;
      from = buffer + (b * kBlockRows + row - blocks.first_row(e, b)) * columns;
    }
    for (i64 c = threadIdx.x % kWarp; c < columns; c += kWarp)
      y[row * columns + c] = from == nullptr ? convert<F>(0.0f) : from[c];
  }
}

Gemm gemm_of(const char* op, i64 rows, const GroupedSizes& s) {
  return {.op = op,
          .m = rows,
          .n = s.outer,
          .k = s.inner,
          .a_stride = s.inner,
          .b_stride = s.w_transposed ? s.inner : s.outer,
          .b_transposed = s.w_transposed};
}

// x itself where its rows may be read through addresses that cuBLAS does not see (gemm_scattered), else a copy.
template <class F> class Aligned {
 public:
  Aligned(const F* x, i64 count)
      : fits_(reinterpret_cast<std::uintptr_t>(x) % 16 == 0),
        copy_(fits_ ? 0 : count),
        data_(fits_ ? x : copy_.data()) {
    if (!fits_) copy_on_device(copy_.data(), x, count * static_cast<i64>(sizeof(F)));
  }
  const F* data() const { return data_; }

 private:
  bool fits_;
  Scratch<F> copy_;
  const F* data_;
};

template <class F> void matmul_by_blocks(const F* x, const F* w, const i64* begin, F* y, const GroupedSizes& s) {
  const i64 height = std::min(kBlockRows, s.rows), count = s.rows / kBlockRows + s.groups;
  const Scratch<i64> borders(s.groups + 1);
  const Scratch<const F*> from(2 * count);
  const Scratch<F*> to(count);
  const Aligned<F> rows_of_x(x, s.rows * s.inner), weights(w, s.groups * s.inner * s.outer);
  const Scratch<F> buffer(count * kBlockRows * s.outer);
  trust("grouped_matmul", begin, borders.data(), s);
  const RowBlocks blocks{borders.data(), s.groups, s.rows, height};
  const BlockAddresses<F> at{from.data(), from.data() + count, to.data()};
  const Grid g = grid_for(count);
  launch("grouped_matmul", g.blocks, g.threads, 0, block_addresses_kernel<F>, rows_of_x.data(), weights.data(),
         buffer.data(), s, blocks, count, at);
  gemm_scattered<F>(gemm_of("grouped_matmul", height, s), at.x, at.w, at.y, count);
  const Grid rows = grid_for(s.rows * kWarp);
  launch("grouped_matmul", rows.blocks, rows.threads, 0, place_rows_kernel<F>, buffer.data(), y, s.outer, blocks);
}

// ---- grouped_outer by tiles

template <class F> struct OuterProduct {
  const F *x, *z;
  F* y;
  const i64* borders;
  i64 inner, outer, tiles_down, tiles_across;
};

template <class F> __global__ void __launch_bounds__(kTileThreads) outer_tiles_kernel(OuterProduct<F> p, i64 tiles) {
  __shared__ Computed<F> strips[2 * kStrip];
  for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const i64 column = tile % p.tiles_across * kTile, row = tile / p.tiles_across % p.tiles_down * kTile;
    const i64 e = tile / p.tiles_across / p.tiles_down, begin = p.borders[e], rows = p.borders[e + 1] - begin;
    const Window<F> x{p.x + begin * p.inner + row, p.inner, rows, p.inner - row};
    const Window<F> z{p.z + begin * p.outer + column, p.outer, rows, p.outer - column};
    const bool adds = has_results(p.inner - row, p.outer - column);
    TileSum<Computed<F>> sum;
    for (i64 first = 0; first < rows; first += kInner) {
      __syncthreads();
      load_by_rows(strips, x, first);
      load_by_rows(strips + kStrip, z, first);
      __syncthreads();
      if (adds) add_products(sum, strips, strips + kStrip, steps_of(rows, first));
    }
    store_tile(p.y + (e * p.inner + row) * p.outer + column, p.outer, p.inner - row, p.outer - column, sum,
               Scaled<Computed<F>>{1});
  }
}

template <class F> void outer_by_tiles(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& s) {
  const Scratch<i64> borders(s.groups + 1);
  trust("grouped_outer", begin, borders.data(), s);
  const i64 down = (s.inner + kTile - 1) / kTile, across = (s.outer + kTile - 1) / kTile;
  const OuterProduct<F> p{x, z, y, borders.data(), s.inner, s.outer, down, across};
  launch("grouped_outer", blocks_for(s.groups * down * across), dim3(kTileThreads), 0, outer_tiles_kernel<F>, p,
         s.groups * down * across);
}

template <class F> void fill_zeros(const char* op, F* y, i64 count) {
  if (count > 0) check(cudaMemsetAsync(y, 0, static_cast<std::size_t>(count) * sizeof(F), stream()), op);
}

}  // namespace

template <class F> void grouped_matmul(const F* x, const F* w, const i64* begin, F* y, const GroupedSizes& s) {
  if (s.rows == 0 || s.outer == 0) return;
  if (s.groups == 0 || s.inner == 0) return fill_zeros("grouped_matmul", y, s.rows * s.outer);
  if (s.borders == nullptr) return matmul_by_blocks(x, w, begin, y, s);
  for (i64 e = 0; e < s.groups; ++e) {
    const i64 first = s.borders[e], rows = s.borders[e + 1] - first;
    if (rows > 0)
      gemm_strided(gemm_of("grouped_matmul", rows, s), x + first * s.inner, 0, w + e * s.inner * s.outer, 0,
                   y + first * s.outer, rows * s.outer, 1);
  }
  const i64 end = s.borders[s.groups];
  fill_zeros("grouped_matmul", y + end * s.outer, (s.rows - end) * s.outer);
}

template <class F> void grouped_outer(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& s) {
  if (s.groups == 0 || s.inner == 0 || s.outer == 0) return;
  if (s.borders == nullptr) return outer_by_tiles(x, z, begin, y, s);
  Gemm gemm{.op = "grouped_outer",
            .m = s.inner,
            .n = s.outer,
            .k = 0,
            .a_stride = s.inner,
            .b_stride = s.outer,
            .a_transposed = true};
  for (i64 e = 0; e < s.groups; ++e) {
    gemm.k = s.borders[e + 1] - s.borders[e];
    gemm_strided(gemm, x + s.borders[e] * s.inner, 0, z + s.borders[e] * s.outer, 0, y + e * s.inner * s.outer,
                 s.inner * s.outer, 1);
  }
}

#define MOEGRAD_GROUPED(F)                                                               \
  template void grouped_matmul(const F*, const F*, const i64*, F*, const GroupedSizes&); \
  template void grouped_outer(const F*, const F*, const i64*, F*, const GroupedSizes&);
MOEGRAD_GROUPED(float)
MOEGRAD_GROUPED(double)
MOEGRAD_GROUPED(bf16)

}  // namespace moegrad::cuda
