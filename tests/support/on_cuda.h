// For tests that need a GPU, or its emulation.
#pragma once
#include <cstdint>

#include "core/cuda.h"
#include "core/device.h"

namespace cuda_on_cpu {  // tests/cuda_on_cpu/cuda_on_cpu.h, in programs that hold the emulation
enum class Order;
[[gnu::weak]] void set_order(Order order, std::uint64_t seed);
[[gnu::weak]] Order order();
}  // namespace cuda_on_cpu

namespace moegrad::test {

/// While it lives, the emulated GPU runs threads and blocks the other way round, so that sums in an order of chance
/// differ, as they do between two runs on a GPU, where this does nothing.
class OtherWayRound {
 public:
  OtherWayRound() {
    if (cuda_on_cpu::set_order == nullptr) return;
    before_ = cuda_on_cpu::order();
    cuda_on_cpu::set_order(before_ == kReverse ? kForward : kReverse, 0);
  }
  ~OtherWayRound() {
    if (cuda_on_cpu::set_order != nullptr) cuda_on_cpu::set_order(before_, 0);
  }
  OtherWayRound(const OtherWayRound&) = delete;
  OtherWayRound& operator=(const OtherWayRound&) = delete;

 private:
  static constexpr auto kForward = cuda_on_cpu::Order{0}, kReverse = cuda_on_cpu::Order{1};
  cuda_on_cpu::Order before_{};
};

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
