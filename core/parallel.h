// Loops over threads, and reductions whose result does not depend on how many threads ran them.
#pragma once
#include <type_traits>
#include <utility>

#include "core/fwd.h"

namespace moegrad {

/// Threads that a loop may use: a setting of the calling thread, shared with OpenBLAS (its OpenMP build reads the same
/// one). At first it is OMP_NUM_THREADS, or else the number of cores.
///   Errors  set_num_threads: Error if count < 1
int num_threads();
void set_num_threads(int count);

/// Division of [0, n) into ranges whose sizes differ by at most one. Borders depend on n and count only.
struct Chunks {
  i64 n, count;
  i64 begin(i64 c) const { return n / count * c + (c < n % count ? c : n % count); }
  i64 end(i64 c) const { return begin(c + 1); }
};

/// The division for a reduction: at least `grain` elements in each chunk (unless n is smaller), at most kMaxChunks
/// chunks, at least one, and no knowledge of threads. A kernel with large partial results (say one row each) makes its
/// own buffer of `count` of them, runs parallel_for over the chunks and combines in the order of `tree_combine`.
constexpr i64 kMaxChunks = 64;
inline Chunks reduction_chunks(i64 n, i64 grain) {
  const i64 wanted = grain < 1 ? n : n / grain;
  return {n, wanted < 1 ? 1 : wanted > kMaxChunks ? kMaxChunks : wanted};
}

/// Calls combine(i, j), which adds partial result j to partial result i, along a fixed binary tree; the total is in 0.
template <class Combine> void tree_combine(i64 count, Combine&& combine) {
  for (i64 stride = 1; stride < count; stride *= 2)
    for (i64 i = 0; i + stride < count; i += 2 * stride) combine(i, i + stride);
}

// A body as a plain function pointer and its captures: no allocation, and one compiled copy of the threading.
using RangeBody = void (*)(void* captures, i64 begin, i64 end);
void parallel_ranges(i64 n, i64 grain, RangeBody body, void* captures);

/// Runs body(begin, end) over disjoint ranges that cover [0, n), each at least about `grain` long.
///   Inline   in the calling thread, as body(0, n), if n <= grain, inside another parallel loop, or with one thread.
///            n <= 0 does nothing. The inline path is a comparison and a call; the threaded one costs 1 us or more,
///            so choose `grain` to be some 10 us of work.
///   Errors   what the body throws reaches the caller, once every range has ended; of several, the lowest range's
template <class Body> void parallel_for(i64 n, i64 grain, Body&& body) {
  if (n <= grain) {
    if (n > 0) body(i64{0}, n);
    return;
  }
  using Plain = std::remove_reference_t<Body>;
  parallel_ranges(
      n, grain, [](void* captures, i64 begin, i64 end) { (*static_cast<Plain*>(captures))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

/// combine of part(begin, end) over the chunks of [0, n): the same bits for any number of threads.
///   part      (i64 begin, i64 end) -> T, for 0 <= begin < end <= n
///   combine   (T, T) -> T, called in the fixed order of tree_combine
///   identity  the result for n <= 0, and nothing else
///   Errors    as parallel_for
template <class T, class Part, class Combine>
T parallel_reduce(i64 n, i64 grain, T identity, Part&& part, Combine&& combine) {
  if (n <= 0) return identity;
  const Chunks chunks = reduction_chunks(n, grain);
  if (chunks.count == 1) return part(i64{0}, n);
  T partial[kMaxChunks];
  parallel_for(chunks.count, 1, [&](i64 first, i64 last) {
    for (i64 c = first; c < last; ++c) partial[c] = part(chunks.begin(c), chunks.end(c));
  });
  tree_combine(chunks.count, [&](i64 i, i64 j) { partial[i] = combine(std::move(partial[i]), std::move(partial[j])); });
  return std::move(partial[0]);
}

}  // namespace moegrad
