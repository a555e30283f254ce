// Streams and events. All work is done at once, in the order of the calls; a stream that captures records it instead.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "host_api.h"

namespace cuda_on_cpu {

using Work = std::function<cudaError_t()>;
struct Capture;

}  // namespace cuda_on_cpu

struct CUgraphNode_st {
  cudaGraphNodeType type;
  cuda_on_cpu::Work work;
};
struct CUgraph_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;  // in the order of the calls
};
struct CUgraphExec_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUstream_st {
  unsigned flags = 0;
  std::shared_ptr<cuda_on_cpu::Capture> capture;
  bool joined = true;  // what it recorded is known to the capture's origin
};
struct CUevent_st {
  unsigned flags = 0;
  bool recorded = false;
  std::chrono::steady_clock::time_point time{};
  std::weak_ptr<cuda_on_cpu::Capture> capture;  // that it was recorded in
  cudaStream_t stream = nullptr;
};

namespace cuda_on_cpu {

struct Capture {
  unsigned long long id;
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  std::unique_ptr<CUgraph_st> graph = std::make_unique<CUgraph_st>();
  bool valid = true;
};

// The lock must be held for all that follows.

/// Whether there is such a stream; null is one.
bool is_stream(cudaStream_t stream);
bool captures(cudaStream_t stream);
/// cudaSuccess: the stream takes work.
cudaError_t admit(cudaStream_t stream);
void record_node(cudaStream_t stream, cudaGraphNodeType type, Work work);

/// Runs work, or records the copy of it that `copy` makes.
template <class Run, class Copy>
cudaError_t submit(cudaStream_t stream, cudaGraphNodeType type, const Run& run, const Copy& copy) {
  if (const cudaError_t e = admit(stream)) return e;
  if (!captures(stream)) return run();
  record_node(stream, type, copy());
  return cudaSuccess;
}

/// Ends the stream's capture, if there is one, with an error.
cudaError_t fail_capture(cudaStream_t stream, cudaError_t code, const std::string& details);
/// For calls that a capture of the calling thread, or a global one, forbids (cudaMalloc, ..).
cudaError_t check_unsafe_call(const char* name);
/// For calls that wait for a stream or for the whole device. Looks for damaged memory, too.
cudaError_t check_waiting_call(const char* name, cudaStream_t stream);
cudaError_t check_waiting_for_device(const char* name);

}  // namespace cuda_on_cpu
