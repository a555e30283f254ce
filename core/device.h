// Devices, and the one place where an op chooses between its CPU and its GPU kernel.
#pragma once
#include "core/config.h"
#include "core/errors.h"
#include "core/fwd.h"

namespace moegrad {

enum class Device : std::uint8_t { cpu, cuda };

constexpr const char* name(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }

/// Throws DeviceError, which says why: this build or machine has no such device.
void check_device(const char* op, Device device);
/// "cpu" or "cuda". Throws DeviceError: another name, or a device that this build or machine lacks.
Device device_named(const std::string& name);

/// Where tensors are made if nothing else is said. At first the CPU.
Device default_device();
/// Sets it for all threads. Throws DeviceError as check_device.
void set_default_device(Device device);

/// Another default device for the calling thread, while this object lives. Scopes nest.
class DeviceScope {
 public:
  explicit DeviceScope(Device device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int outer_;
};

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
