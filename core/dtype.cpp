#include "core/dtype.h"

#include <fmt/format.h>

#include "core/device.h"

namespace moegrad {

void throw_dtype(const char* op, const char* wanted, DType got) {
  throw DTypeError(fmt::format("{}: x must be {}; got {}", op, wanted, name(got)));
}

void check_device(const char* op, Device device) {
  if (device == Device::cuda && !kWithCuda)
    throw DeviceError(
        fmt::format("{}: the device must be one that this build has; got cuda, and this build has cpu only", op));
}

}  // namespace moegrad
