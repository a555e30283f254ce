// A radix sort from the lowest digit up, 8 bits for each pass. A pass moves n keys and n element numbers, and is stable:
//
//   1  a block counts the digits of its chunk of 1024 elements: counts[digit][chunk]
//   2  a block for each digit adds up the chunks before each chunk, and the whole
//   3  the block of each chunk goes through it again, a tile of one element for each thread after the other. Threads of
//      a warp with the same digit find each other by ballots; the places of a digit continue from warp to warp.
//
// With one chunk, step 3 counts by itself. No result depends on the order of atomics: they only count.
#include "cuda/counting.cuh"

namespace moegrad::cuda {
namespace {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int kWarps = kBlock / kWarp;
constexpr i64 kChunk = 4 * kBlock;

struct Digit {
  int shift, bits;
  __device__ int of(i64 key) const { return static_cast<int>(key >> shift) & ((1 << bits) - 1); }
  __device__ int count() const { return 1 << bits; }
};

__device__ void count_digits(const i64* keys, i64 n, Digit digit, int* found) {
  for (int d = threadIdx.x; d < digit.count(); d += blockDim.x) found[d] = 0;
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&found[digit.of(keys[i])], 1);
  __syncthreads();
}

__global__ void __launch_bounds__(kBlock) count_digits_kernel(const i64* keys, i64 n, Digit digit, i64* counts) {
  __shared__ int found[kDigits];
  const i64 chunks = (n + kChunk - 1) / kChunk;
  for (i64 c = blockIdx.x; c < chunks; c += gridDim.x) {
    const i64 first = c * kChunk, left = n - first;
    count_digits(keys + first, left < kChunk ? left : kChunk, digit, found);
    for (int d = threadIdx.x; d < digit.count(); d += blockDim.x) counts[d * chunks + c] = found[d];
    __syncthreads();
  }
}

// The sum of v over the threads of the block up to this one. `room`: a place for each warp.
__device__ i64 sum_up_to(i64 v, i64* room) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (int by = 1; by < kWarp; by *= 2) {
    const i64 other = __shfl_up_sync(kAllLanes, v, by);
    if (lane >= by) v += other;
  }
  __syncthreads();
  if (lane == kWarp - 1) room[warp] = v;
  __syncthreads();
  for (int w = 0; w < warp; ++w) v += room[w];
  return v;
}

__global__ void __launch_bounds__(kBlock) sum_before_kernel(i64* counts, i64 rows, i64 n, i64* totals) {
  __shared__ i64 room[kWarps], last;
  for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
    i64 before = 0;
    for (i64 first = 0; first < n; first += blockDim.x) {
      const i64 i = first + threadIdx.x, own = i < n ? counts[row * n + i] : 0;
      const i64 sum = before + sum_up_to(own, room);
      if (i < n) counts[row * n + i] = sum - own;
      if (threadIdx.x == blockDim.x - 1) last = sum;
      __syncthreads();
      before = last;
    }
    if (threadIdx.x == 0) totals[row] = before;
    __syncthreads();
  }
}

// The lanes whose digit is that of this one; lanes without an element have none.
__device__ unsigned lanes_alike(int digit, int bits, bool has) {
  unsigned alike = __ballot_sync(kAllLanes, has);
  for (int b = 0; b < bits; ++b) {
    const unsigned set = __ballot_sync(kAllLanes, has && (digit >> b & 1));
    alike &= (digit >> b & 1) ? set : ~set;
  }
  return alike;
}

// next[d] = the place of the first element of this chunk with digit d.
__device__ void first_of_digits(Digit digit, const i64* counts, const i64* totals, i64 chunk, i64 chunks,
                                const int* found, i64* next, i64* room) {
  i64 before = 0;
  for (int first = 0; first < digit.count(); first += static_cast<int>(blockDim.x)) {
    const int d = first + static_cast<int>(threadIdx.x);
    const i64 own = d >= digit.count() ? 0 : counts ? totals[d] : found[d];
    const i64 sum = sum_up_to(own, room);
    if (d < digit.count()) next[d] = before + sum - own + (counts ? counts[d * chunks + chunk] : 0);
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / kWarp; ++w) before += room[w];
  }
  __syncthreads();
}

struct Elements {
  const i64 *keys, *order;  // order: nullptr where element i is number i
  i64 *to_keys, *to_order;
};

__global__ void __launch_bounds__(kBlock)
    place_kernel(Elements e, i64 n, Digit digit, const i64* counts, const i64* totals) {
  __shared__ int found[kDigits], in_warp[kWarps][kDigits];
  __shared__ i64 next[kDigits], room[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const i64 chunks = (n + kChunk - 1) / kChunk;
  for (i64 c = blockIdx.x; c < chunks; c += gridDim.x) {
    const i64 begin = c * kChunk, end = begin + kChunk < n ? begin + kChunk : n;
    if (!counts) count_digits(e.keys, n, digit, found);
    first_of_digits(digit, counts, totals, c, chunks, found, next, room);
    for (i64 tile = begin; tile < end; tile += blockDim.x) {
      const i64 i = tile + threadIdx.x;
      const bool has = i < end;
      const i64 key = has ? e.keys[i] : 0;
      const int d = digit.of(key);
      for (int k = threadIdx.x; k < digit.count(); k += blockDim.x)
        for (int w = 0; w < warps; ++w) in_warp[w][k] = 0;
      __syncthreads();
      const unsigned alike = lanes_alike(d, digit.bits, has);
      const int rank = __popc(alike & ((1u << lane) - 1));
      if (has && rank == 0) in_warp[warp][d] = __popc(alike);
      __syncthreads();
      if (has) {
        i64 place = next[d] + rank;
        for (int w = 0; w < warp; ++w) place += in_warp[w][d];
        e.to_keys[place] = key;
        e.to_order[place] = e.order ? e.order[i] : i;
      }
      __syncthreads();
      for (int k = threadIdx.x; k < digit.count(); k += blockDim.x)
        for (int w = 0; w < warps; ++w) next[k] += in_warp[w][k];
    }
    __syncthreads();
  }
}

__global__ void first_places_kernel(const i64* sorted, i64 n, i64* begin, i64 count) {
  for (i64 d = first_index(); d < count; d += grid_stride()) {
    i64 low = 0, high = n;  // the place is in [low, high]
    while (low < high) {
      const i64 middle = low + (high - low) / 2;
      if (sorted[middle] < d)
        low = middle + 1;
      else
        high = middle;
    }
    begin[d] = low;
  }
}

void sort_by_digit(const Elements& e, i64 n, Digit digit) {
  const i64 chunks = (n + kChunk - 1) / kChunk;
  const dim3 threads = threads_for(n);
  if (chunks == 1) return launch("sort_by_key", 1, threads, 0, place_kernel, e, n, digit, nullptr, nullptr);
  const i64 digits = i64{1} << digit.bits;
  const Scratch<i64> counts(digits * chunks), totals(digits);
  launch("sort_by_key", blocks_for(chunks), threads, 0, count_digits_kernel, e.keys, n, digit, counts.data());
  sum_before(counts.data(), digits, chunks, totals.data());
  launch("sort_by_key", blocks_for(chunks), threads, 0, place_kernel, e, n, digit, counts.data(), totals.data());
}

}  // namespace

void sum_before(i64* counts, i64 rows, i64 n, i64* totals) {
  launch("sum_before", blocks_for(rows), threads_for(n), 0, sum_before_kernel, counts, rows, n, totals);
}

void sort_by_key(const i64* keys, i64 n, i64 most, i64* sorted, i64* order) {
  int bits = 1;
  while (bits < 63 && most >> bits != 0) ++bits;
  const int passes = (bits + kDigitBits - 1) / kDigitBits;
  const Scratch<i64> other_keys(passes > 1 ? n : 0), other_order(passes > 1 ? n : 0);
  // Results go to and fro between two places, so that the last pass writes where it is asked to.
  Elements e{keys, nullptr, nullptr, nullptr};
  for (int pass = 0; pass < passes; ++pass) {
    const int begin = bits * pass / passes, end = bits * (pass + 1) / passes;
    const bool here = (passes - 1 - pass) % 2 == 0;
    e.to_keys = here ? sorted : other_keys.data();
    e.to_order = here ? order : other_order.data();
    if (n > 0) sort_by_digit(e, n, {begin, end - begin});
    e.keys = e.to_keys, e.order = e.to_order;
  }
}

void first_places(const i64* sorted, i64 n, i64* begin, i64 count) {
  const Grid g = grid_for(count);
  launch("first_places", g.blocks, g.threads, 0, first_places_kernel, sorted, n, begin, count);
}

}  // namespace moegrad::cuda
