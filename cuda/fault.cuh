// Bad values that only a kernel can see.
#pragma once
#include "cuda/launch.h"

namespace moegrad::cuda {

/// Reports a bad value. Of several the first to come is kept.
__device__ inline void report(Fault* fault, int number, i64 value) {
  if (atomicCAS(&fault->number, 0, number) == 0) fault->value = value;
}

}  // namespace moegrad::cuda
