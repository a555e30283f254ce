// Devices, and the one place where an op chooses between its CPU and its GPU kernel.
#pragma once
#include "core/config.h"
#include "core/errors.h"
#include "core/fwd.h"

namespace moegrad {

enum class Device : std::uint8_t { cpu, cuda };

constexpr const char* name(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }

/// Throws DeviceError: this build or machine has no such device.
void check_device(const char* op, Device device);

}  // namespace moegrad

/// Calls cpu::kernel(...) or cuda::kernel(...), by the device. In a build without CUDA the second call is discarded at
/// compile time: it needs a declaration but no definition.
#define MOEGRAD_LAUNCH(device, kernel, ...)      \
  do {                                           \
    if constexpr (::moegrad::kWithCuda) {        \
      if ((device) == ::moegrad::Device::cuda) { \
        cuda::kernel(__VA_ARGS__);               \
        break;                                   \
      }                                          \
    }                                            \
    cpu::kernel(__VA_ARGS__);                    \
  } while (false)
