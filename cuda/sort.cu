// The first k of each row in order, by entries (ops/sort_entry.h) that are never equal. By the size of a row:
//
//   n <= 32            several rows in a warp, a bitonic network of shuffles
//   k <= 8             k times the smallest entry above the one before; a warp for each row, or a block where n > 2048
//   n <= 2048          a block for each row, a bitonic network in shared memory (32 KB)
//   longer             tiles of 2048 so, then runs of twice the length by merging: a thread finds the place of one entry
//                      by bisection of the other run. Each of log2(n / 2048) merges reads and writes all entries.
#include "ops/sort.h"

#include "cuda/reduce.cuh"
#include "ops/sort_entry.h"

namespace moegrad::cuda {
namespace {

using detail::entry_of, detail::NarrowEntry, detail::WideEntry;

constexpr i64 kFew = 8, kTile = 2048, kWarpRow = 2048;

struct Smaller {
  template <class Entry> __device__ Entry operator()(const Entry& a, const Entry& b) const { return b < a ? b : a; }
};

// ---- rows of at most a warp

template <class Entry, class X>
__global__ void __launch_bounds__(kBlock) order_short_rows_kernel(const X* x, i64* y, OrderPlan p, int width) {
  const int at = threadIdx.x % width;
  const i64 stride = grid_stride() / width;
  const i64 own = threadIdx.x % kWarp / width;
  for (i64 first = first_index() / kWarp * (kWarp / width); first < p.rows; first += stride) {  // alike in all lanes
    const i64 row = first + own;
    const bool has = row < p.rows && at < p.n;
    Entry e = has ? entry_of<Entry>(x + row * p.n, at, p.descending) : Entry::last();
    for (int size = 2; size <= width; size *= 2)
      for (int by = size / 2; by > 0; by /= 2) {
        const Entry other = shuffle_xor(e, by);
        const bool ascends = (at & size) == 0 || size == width, lower = (at & by) == 0;
        if ((other < e) == (ascends == lower)) e = other;
      }
    if (row < p.rows && at < p.k) y[row * p.k + at] = e.index();
  }
}

// ---- the first few

// The smallest entry above `above` (of all, where there is none yet) among elements first, first + step, ..
template <class Entry, class X>
__device__ Entry smallest_above(const X* row, i64 n, i64 first, i64 step, bool descending, bool any, Entry above) {
  Entry best = Entry::last();
  for (i64 i = first; i < n; i += step) {
    const Entry e = entry_of<Entry>(row, i, descending);
    if ((any || above < e) && e < best) best = e;
  }
  return best;
}

template <class Entry, class X>
__global__ void __launch_bounds__(kBlock) first_few_by_warp_kernel(const X* x, i64* y, OrderPlan p) {
  for (i64 row = first_index() / kWarp; row < p.rows; row += grid_stride() / kWarp) {
    Entry e = Entry::last();
    for (i64 j = 0; j < p.k; ++j) {
      e = smallest_above(x + row * p.n, p.n, lane_index(), kWarp, p.descending, j == 0, e);
      e = warp_reduce(e, Smaller{});
      if (lane_index() == 0) y[row * p.k + j] = e.index();
    }
  }
}

template <class Entry, class X>
__global__ void __launch_bounds__(1024) first_few_by_block_kernel(const X* x, i64* y, OrderPlan p) {
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    Entry e = Entry::last();
    for (i64 j = 0; j < p.k; ++j) {
      e = smallest_above(x + row * p.n, p.n, threadIdx.x, blockDim.x, p.descending, j == 0, e);
      e = block_reduce(e, Smaller{}, Entry::last());
      if (threadIdx.x == 0) y[row * p.k + j] = e.index();
    }
  }
}

// ---- rows and tiles in shared memory

// `size`: a power of two. All threads of the block.
template <class Entry> __device__ void sort_shared(Entry* e, int size) {
  for (int run = 2; run <= size; run *= 2)
    for (int by = run / 2; by > 0; by /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < size / 2; i += blockDim.x) {
        const int low = i / by * 2 * by + i % by, high = low + by;
        if ((e[high] < e[low]) == ((low & run) == 0)) {
          const Entry moved = e[low];
          e[low] = e[high], e[high] = moved;
        }
      }
    }
  __syncthreads();
}

// Sorts tiles of each row: to `out` [rows, n], or, where there is but one, its first indices to y.
template <class Entry, class X>
__global__ void __launch_bounds__(kBlock)
    sort_tiles_kernel(const X* x, i64* y, Entry* out, OrderPlan p, int size, i64 tiles) {
  __shared__ Entry e[kTile];
  for (i64 item = blockIdx.x; item < p.rows * tiles; item += gridDim.x) {
    const i64 row = item / tiles, first = item % tiles * kTile;
    const int count = static_cast<int>(p.n - first < kTile ? p.n - first : kTile);
    for (int i = threadIdx.x; i < size; i += blockDim.x)
      e[i] = i < count ? entry_of<Entry>(x + row * p.n, first + i, p.descending) : Entry::last();
    sort_shared(e, size);
    if (out)
      for (int i = threadIdx.x; i < count; i += blockDim.x) out[row * p.n + first + i] = e[i];
    else
      for (int i = threadIdx.x; i < p.k; i += blockDim.x) y[row * p.k + i] = e[i].index();
    __syncthreads();
  }
}

// ---- longer rows

// How many of the n sorted entries are smaller than e.
template <class Entry> __device__ i64 count_below(const Entry* sorted, i64 n, const Entry& e) {
  i64 low = 0, high = n;
  while (low < high) {
    const i64 middle = low + (high - low) / 2;
    if (sorted[middle] < e)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Joins pairs of neighbouring runs of `run` entries. The last time: the first indices to y.
template <class Entry>
__global__ void __launch_bounds__(kBlock)
    merge_runs_kernel(const Entry* from, Entry* to, i64* y, OrderPlan p, i64 run) {
  for (i64 i = first_index(); i < p.rows * p.n; i += grid_stride()) {
    const i64 row = i / p.n, at = i % p.n, pair = at / (2 * run) * (2 * run), middle = pair + run;
    const Entry* entries = from + row * p.n;
    const Entry e = entries[at];
    i64 place = at;
    if (at >= middle)
      place = at - run + count_below(entries + pair, run, e);
    else if (middle < p.n)
      place = at + count_below(entries + middle, p.n - middle < run ? p.n - middle : run, e);
    if (2 * run < p.n)
      to[row * p.n + place] = e;
    else if (place < p.k)
      y[row * p.k + place] = e.index();
  }
}

template <class Entry, class X> void order_long_rows(const X* x, i64* y, const OrderPlan& p) {
  const Scratch<Entry> one(p.rows * p.n), other(p.rows * p.n);
  Entry *from = one.data(), *to = other.data();
  const i64 tiles = (p.n + kTile - 1) / kTile;
  launch("order_rows", blocks_for(p.rows * tiles), kBlock, 0, sort_tiles_kernel<Entry, X>, x, y, from, p,
         static_cast<int>(kTile), tiles);
  const Grid g = grid_for(p.rows * p.n);
  for (i64 run = kTile; run < p.n; run *= 2) {
    launch("order_rows", g.blocks, g.threads, 0, merge_runs_kernel<Entry>, from, to, y, p, run);
    std::swap(from, to);
  }
}

int power_of_two(i64 n) {
  int size = 1;
  while (size < n) size *= 2;
  return size;
}

template <class Entry, class X> void order_rows_by(const X* x, i64* y, const OrderPlan& p) {
  if (p.n <= kWarp) {
    const int width = power_of_two(p.n);
    const Grid g = grid_for(p.rows * width);
    launch("order_rows", g.blocks, g.threads, 0, order_short_rows_kernel<Entry, X>, x, y, p, width);
  } else if (p.k <= kFew && p.n <= kWarpRow) {
    const Grid g = grid_for(p.rows * kWarp);
    launch("order_rows", g.blocks, g.threads, 0, first_few_by_warp_kernel<Entry, X>, x, y, p);
  } else if (p.k <= kFew) {
    launch("order_rows", blocks_for(p.rows), threads_for(p.n / 4, 1024), 0, first_few_by_block_kernel<Entry, X>, x, y,
           p);
  } else if (p.n <= kTile) {
    const int size = power_of_two(p.n);
    launch("order_rows", blocks_for(p.rows), threads_for(size / 2), 0, sort_tiles_kernel<Entry, X>, x, y,
           static_cast<Entry*>(nullptr), p, size, i64{1});
  } else {
    order_long_rows<Entry>(x, y, p);
  }
}

}  // namespace

template <class X> void order_rows(const X* x, i64* y, const OrderPlan& p) {
  if constexpr (sizeof(X) < 8)
    if (p.n < i64{1} << 32) return order_rows_by<NarrowEntry>(x, y, p);
  order_rows_by<WideEntry>(x, y, p);
}

template void order_rows(const float*, i64*, const OrderPlan&);
template void order_rows(const double*, i64*, const OrderPlan&);
template void order_rows(const bf16*, i64*, const OrderPlan&);
template void order_rows(const i32*, i64*, const OrderPlan&);
template void order_rows(const i64*, i64*, const OrderPlan&);
template void order_rows(const bool*, i64*, const OrderPlan&);

}  // namespace moegrad::cuda
