// The device, its stream, copies and waiting.
#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/errors.h"
#include "cuda/runtime.h"
#include "cuda/staging.h"

namespace moegrad::cuda {
namespace {

// Made once, when the first thread asks for a GPU; never destroyed, because tensors in static variables outlive it.
struct Context {
  std::string reason;  // why there is none
  std::string name;
  int multiprocessors = 0;
  cudaStream_t stream = nullptr;
  Fault* fault = nullptr;
  Fault* seen = nullptr;  // pinned: where copies of `fault` arrive
  std::mutex sending, waiting;
  Staging to_device{i64{4} << 20}, to_host{i64{1} << 20};

  Context() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver || status == cudaErrorStubLibrary || status == cudaErrorNoDevice ||
        (status == cudaSuccess && count == 0))
      reason = "this machine has no usable NVIDIA driver or GPU";
    else if (status != cudaSuccess)
      reason = fmt::format("the NVIDIA driver says: {}", cudaGetErrorString(status));
    if (!reason.empty()) return;
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, 0), "device");
    name = properties.name;
    multiprocessors = properties.multiProcessorCount;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    check(cudaMalloc(reinterpret_cast<void**>(&fault), sizeof(Fault)), "device");
    check(cudaMallocHost(reinterpret_cast<void**>(&seen), sizeof(Fault)), "device");
    check(cudaMemsetAsync(fault, 0, sizeof(Fault), stream), "device");
  }
};

Context& context() {
  static Context* const made = new Context;
  return *made;
}
Context& device() {
  Context& c = context();
  if (!c.reason.empty()) throw DeviceError(fmt::format("cuda: there must be a device; got none: {}", c.reason));
  return c;
}

std::atomic<i64> waits{0};

// The texts of faults by number, from 1.
struct FaultTexts {
  std::mutex mutex;
  std::unordered_map<std::string, int> numbers;
  std::vector<std::string> texts;
};
FaultTexts& fault_texts() {
  static auto* const made = new FaultTexts;
  return *made;
}

void refuse_in_capture(const char* what, const char* why) {
  if (capturing()) throw Error(fmt::format("{}: it cannot be part of a captured graph: {}", what, why));
}

// Waits; `waiting` is locked, and a copy of the fault is on its way.
void wait_and_throw(Context& c) {
  waits++;
  check(cudaStreamSynchronize(c.stream), "synchronize");
  const Fault fault = *c.seen;
  if (fault.number == 0) return;
  check(cudaMemsetAsync(c.fault, 0, sizeof(Fault), c.stream), "synchronize");
  FaultTexts& known = fault_texts();
  const std::lock_guard lock(known.mutex);
  throw IndexError(fmt::format("{}; got {}", known.texts[static_cast<std::size_t>(fault.number - 1)], fault.value));
}

}  // namespace

const std::string& unavailable() { return context().reason; }
std::string device_name() { return device().name; }
cudaStream_t stream() { return device().stream; }
int multiprocessors() { return device().multiprocessors; }
Fault* faults() { return device().fault; }

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // errors that are not sticky are over with this
  throw DeviceError(
      fmt::format("{}: the device must do what it is asked to; got {}", what, cudaGetErrorString(status)));
}

int fault_number(const std::string& text) {
  FaultTexts& known = fault_texts();
  const std::lock_guard lock(known.mutex);
  const auto [at, is_new] = known.numbers.try_emplace(text, static_cast<int>(known.texts.size()) + 1);
  if (is_new) known.texts.push_back(text);
  return at->second;
}

bool capturing() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream(), &status), "stream");
  return status != cudaStreamCaptureStatusNone;
}
void synchronising(const char* op) {
  refuse_in_capture(op, "the shape of its result depends on values, which the host must read");
}
i64 synchronizations() { return waits; }

void synchronize() {
  refuse_in_capture("synchronize", "the host must wait for the device");
  Context& c = device();
  const std::lock_guard lock(c.waiting);
  check(cudaMemcpyAsync(c.seen, c.fault, sizeof(Fault), cudaMemcpyDeviceToHost, c.stream), "synchronize");
  wait_and_throw(c);
}

void copy_to_device(void* to, const void* from, i64 bytes) {
  if (bytes == 0) return;
  refuse_in_capture("copy to the device", "the graph would keep the address of the values, not the values");
  Context& c = device();
  const std::lock_guard lock(c.sending);
  c.to_device.send(to, from, bytes);
}

void copy_to_host(void* to, const void* from, i64 bytes) {
  if (bytes == 0) return;
  refuse_in_capture("copy to the host", "the host must wait for the values");
  Context& c = device();
  const std::lock_guard lock(c.waiting);
  c.to_host.receive(to, from, bytes);
  check(cudaMemcpyAsync(c.seen, c.fault, sizeof(Fault), cudaMemcpyDeviceToHost, c.stream), "copy to the host");
  wait_and_throw(c);
}

void copy_on_device(void* to, const void* from, i64 bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream()),
        "copy on the device");
}

}  // namespace moegrad::cuda
