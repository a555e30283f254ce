// Kernels that fill memory with random numbers. Element i is a function of the key and i alone (core/philox.h).
#pragma once
#include "core/fwd.h"

namespace moegrad {

namespace random {

/// The name of a draw, as a kernel takes it. The step is read where the kernel runs, so that a captured GPU graph draws
/// new numbers each time; of its bits the lower 32 count.
struct Key {
  u64 seed;
  u32 draw;
  const i64* step;
};

}  // namespace random

// F is float or double; y has n elements; n >= 0.
//
//   fill_uniform      low + (high - low) u, with u = random::uniform<F>: in [low, high), or low everywhere if they are
//                     equal; high - low must be finite
//   fill_normal       mean + deviation z, with z = random::normal<F>
//   fill_integers     low + random::below(range): in [low, low + range), for 1 <= range < 2^64 (I: i32 or i64)
//   next_step         to = from + 1, one element each
//   fill_permutation  0, 1, .., n - 1 in an order of which all are equally likely
//
// clang-format off
namespace cpu {
void next_step(const i64* from, i64* to);
template <class I> void fill_integers(I* y, i64 n, random::Key key, i64 low, u64 range);
void fill_permutation(i64* y, i64 n, random::Key key);
template <class F> void fill_uniform(F* y, i64 n, random::Key key, F low, F high);
template <class F> void fill_normal(F* y, i64 n, random::Key key, F mean, F deviation);
}
namespace cuda {
void next_step(const i64* from, i64* to);
template <class I> void fill_integers(I* y, i64 n, random::Key key, i64 low, u64 range);
void fill_permutation(i64* y, i64 n, random::Key key);
template <class F> void fill_uniform(F* y, i64 n, random::Key key, F low, F high);
template <class F> void fill_normal(F* y, i64 n, random::Key key, F mean, F deviation);
}
// clang-format on

}  // namespace moegrad
