#include "core/random.h"

#include <fmt/format.h>

#include <limits>

#include "core/cuda.h"
#include "core/fill.h"
#include "core/random_fill.h"

namespace moegrad {

Random::Random(u64 seed, Device device) : seed_(seed), step_(zeros({}, DType::i64, device)) {}

Random::Random(const Random& other) : seed_(other.seed_), drawn_(other.drawn_), step_(other.step_) {
  if (!other.in_graph_) return;
  step_ = empty({}, DType::i64, other.step_.device());
  step_.assign(other.step_);
}
Random& Random::operator=(const Random& other) {
  Random copy(other);
  seed_ = copy.seed_, drawn_ = copy.drawn_;
  if (in_graph_)
    step_.assign(copy.step_);
  else
    step_ = copy.step_;
  return *this;
}

// Draws handed out keep the step they were made in; only a graph that has been captured needs the step where it is.
void Random::advance() {
  if constexpr (kWithCuda) in_graph_ = in_graph_ || (step_.device() == Device::cuda && cuda::capturing());
  const Tensor next = in_graph_ ? step_ : empty({}, DType::i64, step_.device());
  MOEGRAD_LAUNCH(step_.device(), next_step, step_.data<i64>(), next.data<i64>());
  step_ = next;
  drawn_ = 0;
}

void Random::restore(u64 seed, i64 step, u32 drawn) {
  if (step < 0 || step > std::numeric_limits<u32>::max())
    throw Error(fmt::format("random: a step must be in [0, 2^32); got {}", step));
  seed_ = seed;
  drawn_ = drawn;
  if (!in_graph_) step_ = empty({}, DType::i64, step_.device());
  MOEGRAD_LAUNCH(step_.device(), fill_value, step_.data<i64>(), 1, step);
}

}  // namespace moegrad
