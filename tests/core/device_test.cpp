#include "core/device.h"

#include <doctest/doctest.h>

#include <string>

#include "core/tensor.h"

using namespace moegrad;

namespace launch_test {

int launched = 0;
namespace cpu {
void note(int value) { launched += value; }
}  // namespace cpu
namespace cuda {
void note(int value);  // as with a real kernel in a build without CUDA: declared, never defined
}

void launch(Device device, int value) { MOEGRAD_LAUNCH(device, note, value); }

}  // namespace launch_test

TEST_CASE("device: names, and the launch macro on the CPU") {
  CHECK(std::string(name(Device::cpu)) == "cpu");
  CHECK(std::string(name(Device::cuda)) == "cuda");
  CHECK_NOTHROW(check_device("zeros", Device::cpu));
  launch_test::launch(Device::cpu, 3);
  CHECK(launch_test::launched == 3);
}

TEST_CASE("device: a device that the build lacks is an error of the call that names it") {
  if (kWithCuda) return;
  CHECK_THROWS_WITH_AS(zeros({2}, DType::f32, Device::cuda),
                       "zeros: the device must be one that this build has; got cuda, and this build has cpu only",
                       DeviceError);
}
