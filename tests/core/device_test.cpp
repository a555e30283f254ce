#include "core/device.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "core/tensor.h"

using namespace moegrad;

namespace launch_test {

int launched = 0;
namespace cpu {
void note(int value) { launched += value; }
}  // namespace cpu
namespace cuda {
void note(int value);
}

void launch(Device device, int value) { MOEGRAD_LAUNCH(device, note, value); }

void cuda::note(int value) { launched += 100 * value; }

}  // namespace launch_test

TEST_CASE("device: names, and the launch macro on the CPU") {
  CHECK(std::string(name(Device::cpu)) == "cpu");
  CHECK(std::string(name(Device::cuda)) == "cuda");
  CHECK_NOTHROW(check_device("zeros", Device::cpu));
  launch_test::launch(Device::cpu, 3);
  CHECK(launch_test::launched == 3);
  launch_test::launch(Device::cuda, 2);
  CHECK(launch_test::launched == (kWithCuda ? 203 : 5));
}

TEST_CASE("device: by name") {
  CHECK(device_named("cpu") == Device::cpu);
  CHECK_THROWS_WITH_AS(device_named("gpu"), "device: it must be cpu or cuda; got 'gpu'", DeviceError);
}

TEST_CASE("device: tensors are made on the default device, scopes nest and belong to their thread") {
  const Device outside = default_device();
  {
    const DeviceScope scope(Device::cpu);
    CHECK(zeros({2}).device() == Device::cpu);
    CHECK(tensor({1, 2}).device() == Device::cpu);
    std::thread([&] { CHECK(default_device() == outside); }).join();
  }
  CHECK(zeros({2}).device() == outside);
  CHECK(arange(0, 3).device() == outside);
}

TEST_CASE("device: a device that the build lacks is an error of the call that names it") {
  if (kWithCuda) return;
  CHECK_THROWS_WITH_AS(zeros({2}, DType::f32, Device::cuda),
                       "zeros: the device must be one that can be used here; got cuda, and this build has cpu only",
                       DeviceError);
}
