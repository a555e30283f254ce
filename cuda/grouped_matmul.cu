// Products of uneven groups of rows: y = x w[e] for the rows of group e.
//
// Where the host may know the borders of the groups (sizes.borders), each group is one call of cuBLAS with its exact
// size. In a capture it may not: the graph will be replayed with other borders. Then blocks of up to 128 rows, each
// within one group, cover the rows: at most rows / 128 + groups of them, so their number is known. Every block is a
// product of one batch over arrays of addresses, which a kernel fills, into a buffer; a second kernel puts rows in their
// places. The last block of a group multiplies rows of the next one, too, which nobody reads.
#include "ops/grouped_matmul.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/dtype.h"
#include "cuda/cublas.h"
#include "cuda/grouped_borders.h"
#include "cuda/launch.h"

namespace moegrad::cuda {
namespace {

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
  trusted_borders("grouped_matmul", begin, borders.data(), s);
  const RowBlocks blocks{borders.data(), s.groups, s.rows, height};
  const BlockAddresses<F> at{from.data(), from.data() + count, to.data()};
  const Grid g = grid_for(count);
  launch("grouped_matmul", g.blocks, g.threads, 0, block_addresses_kernel<F>, rows_of_x.data(), weights.data(),
         buffer.data(), s, blocks, count, at);
  gemm_scattered<F>(gemm_of("grouped_matmul", height, s), at.x, at.w, at.y, count);
  const Grid rows = grid_for(s.rows * kWarp);
  launch("grouped_matmul", rows.blocks, rows.threads, 0, place_rows_kernel<F>, buffer.data(), y, s.outer, blocks);
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

template void grouped_matmul(const float*, const float*, const i64*, float*, const GroupedSizes&);
template void grouped_matmul(const double*, const double*, const i64*, double*, const GroupedSizes&);
template void grouped_matmul(const bf16*, const bf16*, const i64*, bf16*, const GroupedSizes&);

}  // namespace moegrad::cuda
