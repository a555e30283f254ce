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
//   fill_uniform  low + (high - low) u, with u = random::uniform<F>: in [low, high), or low everywhere if they are
//   equal.
//                 high - low must be finite.
//   fill_normal   mean + deviation z, with z = random::normal<F>
// clang-format off
namespace cpu {
template <class F> void fill_uniform(F* y, i64 n, random::Key key, F low, F high);
template <class F> void fill_normal(F* y, i64 n, random::Key key, F mean, F deviation);
}
namespace cuda {
template <class F> void fill_uniform(F* y, i64 n, random::Key key, F low, F high);
template <class F> void fill_normal(F* y, i64 n, random::Key key, F mean, F deviation);
}
// clang-format on

}  // namespace moegrad
