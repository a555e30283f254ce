#include "core/random.h"

#include <fmt/format.h>

#include <limits>

namespace moegrad {

Random::Random(u64 seed, Device device) : seed_(seed), step_(zeros({}, DType::i64, device)) {}

void Random::advance() {
  const i64 next = *step_.data<i64>() + 1;
  step_ = zeros({}, DType::i64, step_.device());  // draws handed out keep the step they were made in
  *step_.data<i64>() = next;
  drawn_ = 0;
}

void Random::restore(u64 seed, i64 step, u32 drawn) {
  if (step < 0 || step > std::numeric_limits<u32>::max())
    throw Error(fmt::format("random: a step must be in [0, 2^32); got {}", step));
  seed_ = seed;
  drawn_ = drawn;
  step_ = zeros({}, DType::i64, step_.device());
  *step_.data<i64>() = step;
}

}  // namespace moegrad
