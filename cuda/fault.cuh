// Bad values that only a kernel can see: the first one is kept on the device until the host waits and throws it.
#pragma once
#include "cuda/launch.h"

namespace moegrad::cuda {

struct Fault {
  int number;  // of fault_number(text); 0: none
  int pad;
  long long value;  // the bad one
};
/// The device's. (Kernels get it as an argument.)
Fault* faults();

/// Reports a bad value. Of several the first to come is kept.
__device__ inline void report(Fault* fault, int number, i64 value) {
  if (atomicCAS(&fault->number, 0, number) == 0) fault->value = value;
}

}  // namespace moegrad::cuda
