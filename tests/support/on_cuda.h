// For tests that need a GPU, or its emulation.
#pragma once
#include "core/cuda.h"
#include "core/device.h"

namespace moegrad::test {

/// True where Device::cuda can be used. A test returns at once elsewhere: its other half runs in a build that has it.
inline bool on_cuda() {
  if constexpr (kWithCuda)
    return cuda::unavailable().empty();
  else
    return false;
}

/// How often the host has waited for the GPU so far.
inline i64 waits() {
  if constexpr (kWithCuda)
    return cuda::synchronizations();
  else
    return 0;
}

}  // namespace moegrad::test
