// Errors of the runtime, their texts, and the lock that all calls take.
#pragma once
#include <mutex>
#include <string>

#include "host_types.h"

namespace cuda_on_cpu {

/// Makes `code` the calling thread's last error. The text follows NVIDIA's in cudaGetErrorString.
cudaError_t fail(cudaError_t code, const std::string& details = {});
/// An error after which, as on the device, every call fails: until recover().
cudaError_t fail_for_good(cudaError_t code, const std::string& details);
/// The error of fail_for_good, or cudaSuccess. The lock must be held.
cudaError_t sticky();

/// The device works for one thread of the host at a time.
class Lock {
 public:
  Lock() : lock_(mutex()) {}

 private:
  static std::mutex& mutex();
  std::lock_guard<std::mutex> lock_;
};

}  // namespace cuda_on_cpu
