// The same forward pass with and without router noise.
#pragma once
#include "nn/context.h"

namespace moegrad {

/// While it lives, router noise on this thread is switched off, yet drawn as always: all other random numbers of a pass,
/// such as those of dropout and of random service orders, stay what they are with noise. In place of each number stands
/// the one that changes nothing: 0 of gaussian and Gumbel noise, 0.5 of uniform numbers (jitter by a factor of 1; of
/// second choices and of k-subsets the draw in the middle).
class QuietRouters {
 public:
  QuietRouters();
  ~QuietRouters();
  QuietRouters(const QuietRouters&) = delete;
  QuietRouters& operator=(const QuietRouters&) = delete;

 private:
  bool before_;
};

/// Context::noise for routers: the same, unless they are quiet.
Tensor router_noise(Context& context, Noise kind, const Shape& shape, DType dtype);

}  // namespace moegrad
