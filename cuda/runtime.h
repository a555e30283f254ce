// What the host code of the GPU backend shares.
#pragma once
#include <cuda_runtime.h>

#include "core/cuda.h"
#include "core/fwd.h"

namespace moegrad::cuda {

/// Throws DeviceError `<what>: the device must do what it is asked to; got <CUDA's error>` unless status is success.
void check(cudaError_t status, const char* what);

/// The stream in which everything happens.
cudaStream_t stream();
int multiprocessors();

/// A bad value that only a kernel can see (cuda/fault.cuh): the first one is kept on the device until the host waits,
/// and throws it.
struct Fault {
  int number;  // of fault_number(text); 0: none
  int pad;
  long long value;
};
/// The device's. (Kernels get it as an argument.)
Fault* faults();

/// Device memory for the intermediate results of one op: uninitialised, released at the end of the scope (whoever gets
/// it next works behind the kernels that use it now).
template <class T> class Scratch {
 public:
  explicit Scratch(i64 count) : bytes_(count * static_cast<i64>(sizeof(T))) {
    data_ = static_cast<T*>(allocate(bytes_, &owner_));
  }
  ~Scratch() { release(data_, bytes_, owner_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return data_; }

 private:
  i64 bytes_;
  void* owner_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace moegrad::cuda
