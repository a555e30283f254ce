#include "tests/support/device.h"

#include "core/cuda.h"
#include "core/device.h"

namespace moegrad::test {

void settle() {
  if constexpr (kWithCuda)
    if (default_device() == Device::cuda) cuda::synchronize();
}

doctest::String bad_value(const char* text, const char* place) {
  return default_device() == Device::cuda ? doctest::String(text) : doctest::String(text) + place;
}

}  // namespace moegrad::test
