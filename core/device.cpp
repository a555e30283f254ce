#include "core/device.h"

#include <fmt/format.h>

#include <atomic>

#include "core/cuda.h"

namespace moegrad {
namespace {

constexpr int kNone = -1;
std::atomic<Device> for_all{Device::cpu};
thread_local int for_this_thread = kNone;  // a Device, within a scope

std::string why_not(Device device) {
  if (device == Device::cpu) return {};
  if constexpr (kWithCuda)
    return cuda::unavailable();
  else
    return "this build has cpu only";
}

}  // namespace

void check_device(const char* op, Device device) {
  if (device == Device::cpu) return;
  const std::string why = why_not(device);
  if (!why.empty())
    throw DeviceError(
        fmt::format("{}: the device must be one that can be used here; got {}, and {}", op, name(device), why));
}

Device device_named(const std::string& text) {
  for (const Device d : {Device::cpu, Device::cuda}) {
    if (text != name(d)) continue;
    check_device("device", d);
    return d;
  }
  throw DeviceError(fmt::format("device: it must be cpu or cuda; got '{}'", text));
}

Device default_device() {
  return for_this_thread == kNone ? for_all.load(std::memory_order_relaxed) : static_cast<Device>(for_this_thread);
}
void set_default_device(Device device) {
  check_device("set_default_device", device);
  for_all = device;
}

DeviceScope::DeviceScope(Device device) : outer_(for_this_thread) {
  check_device("DeviceScope", device);
  for_this_thread = static_cast<int>(device);
}
DeviceScope::~DeviceScope() { for_this_thread = outer_; }

}  // namespace moegrad
