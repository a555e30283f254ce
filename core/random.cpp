#include "core/random.h"

#include <fmt/format.h>

#include <limits>

#include "core/random_fill.h"

namespace moegrad {

Random::Random(u64 seed, Device device) : seed_(seed), step_(zeros({}, DType::i64, device)) {}

// Draws handed out keep the step they were made in.
void Random::advance() {
  Tensor next = empty({}, DType::i64, step_.device());
  MOEGRAD_LAUNCH(step_.device(), next_step, step_.data<i64>(), next.data<i64>());
  step_ = next;
  drawn_ = 0;
}

void Random::restore(u64 seed, i64 step, u32 drawn) {
  if (step < 0 || step > std::numeric_limits<u32>::max())
    throw Error(fmt::format("random: a step must be in [0, 2^32); got {}", step));
  seed_ = seed;
  drawn_ = drawn;
  step_ = full({}, static_cast<double>(step), DType::i64, step_.device());
}

}  // namespace moegrad
