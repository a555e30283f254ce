// Reductions and scans within a warp and within a block: the same bits every run, because lanes are combined in a fixed
// tree and in their order, so that the operation must be associative but need not commute.
//
// All lanes of the warp (threads of the block) must call them. Blocks are one-dimensional, of 1 to 32 whole warps. T is
// a number, or a trivially copyable struct of up to 16 bytes, such as a value and its index. `op` is a functor with a
// device T operator()(T, T).
#pragma once
#include <cstring>
#include <type_traits>

#include "cuda/launch.h"

namespace moegrad::cuda {

// ---- exchange between lanes

/// Types that a shuffle takes as they are; all others travel as words of 32 bits.
template <class T>
inline constexpr bool kShuffled = std::is_same_v<T, float> || std::is_same_v<T, double> ||
                                  (std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));

template <class T> struct Words {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  static constexpr int kCount = (sizeof(T) + 3) / 4;
  u32 word[kCount] = {};
  __device__ explicit Words(const T& v) { std::memcpy(word, &v, sizeof v); }
  __device__ T value() const {
    T v;
    std::memcpy(&v, word, sizeof v);
    return v;
  }
};

/// The value of the lane whose number differs in the bits of `with`.
template <class T> __device__ inline T shuffle_xor(T v, int with) {
  if constexpr (kShuffled<T>) {
    return __shfl_xor_sync(kAllLanes, v, with);
  } else {
    Words<T> words(v);
    for (u32& w : words.word) w = __shfl_xor_sync(kAllLanes, w, with);
    return words.value();
  }
}
/// The value of lane `source`.
template <class T> __device__ inline T shuffle_from(T v, int source) {
  if constexpr (kShuffled<T>) {
    return __shfl_sync(kAllLanes, v, source);
  } else {
    Words<T> words(v);
    for (u32& w : words.word) w = __shfl_sync(kAllLanes, w, source);
    return words.value();
  }
}
/// The value of the lane `by` before this one; the first `by` lanes get their own.
template <class T> __device__ inline T shuffle_up(T v, int by) {
  if constexpr (kShuffled<T>) {
    return __shfl_up_sync(kAllLanes, v, static_cast<unsigned>(by));
  } else {
    Words<T> words(v);
    for (u32& w : words.word) w = __shfl_up_sync(kAllLanes, w, static_cast<unsigned>(by));
    return words.value();
  }
}

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int warp_index() { return static_cast<int>(threadIdx.x / kWarp); }
__device__ inline int warps_of_block() { return static_cast<int>(blockDim.x / kWarp); }

// ---- reductions

/// op over `kWidth` neighbouring lanes (a power of two): every lane gets the result of its group.
template <int kWidth = kWarp, class T, class Op> __device__ inline T warp_reduce(T v, Op op) {
#pragma unroll
  for (int by = 1; by < kWidth; by *= 2) {
    const T other = shuffle_xor(v, by);
    v = (threadIdx.x & by) ? op(other, v) : op(v, other);
  }
  return v;
}

/// op over the threads of the block: every thread gets the result. May be called several times in a row.
template <class T, class Op> __device__ inline T block_reduce(T v, Op op, T identity) {
  __shared__ T partial[kWarp];
  v = warp_reduce(v, op);
  if (warps_of_block() == 1) return v;
  __syncthreads();  // others may still read what the call before left
  if (lane_index() == 0) partial[warp_index()] = v;
  __syncthreads();
  return warp_reduce(lane_index() < warps_of_block() ? partial[lane_index()] : identity, op);
}

// ---- scans

/// op over this lane and those before it.
template <class T, class Op> __device__ inline T warp_scan(T v, Op op) {
#pragma unroll
  for (int by = 1; by < kWarp; by *= 2) {
    const T other = shuffle_up(v, by);
    if (lane_index() >= by) v = op(other, v);
  }
  return v;
}

/// What block_scan gives to a thread.
template <class T> struct Scanned {
  T before;  ///< op over the threads before this one; the identity in the first (exclusive)
  T upto;    ///< and this thread (inclusive)
  T total;   ///< op over the whole block
};

/// May be called several times in a row.
template <class T, class Op> __device__ inline Scanned<T> block_scan(T v, Op op, T identity) {
  __shared__ T total_of[kWarp];
  const T within = warp_scan(v, op);
  const T left = shuffle_up(within, 1);
  const T before = lane_index() == 0 ? identity : left;
  if (warps_of_block() == 1) return {before, within, shuffle_from(within, kWarp - 1)};
  __syncthreads();  // others may still read what the call before left
  if (lane_index() == kWarp - 1) total_of[warp_index()] = within;
  __syncthreads();
  const T totals = warp_scan(lane_index() < warps_of_block() ? total_of[lane_index()] : identity, op);
  const T warps_before = shuffle_from(totals, warp_index() == 0 ? 0 : warp_index() - 1);
  const T total = shuffle_from(totals, kWarp - 1);
  if (warp_index() == 0) return {before, within, total};
  return {op(warps_before, before), op(warps_before, within), total};
}

}  // namespace moegrad::cuda
