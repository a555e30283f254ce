// The device itself, its memory, and copies.
#include <cstring>
#include <map>

#include "engine/errors.h"
#include "engine/memory.h"
#include "engine/streams.h"
#include "host_api.h"

using namespace cuda_on_cpu;

namespace {

constexpr int kProcessors = 4;  // few: the smallest of tensors give work to several

cudaError_t check_device(int device) {
  return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice, "there is device 0 only");
}

enum class Place { device, pinned, pageable };
Place place_of(const void* p, std::size_t bytes) {
  if (memory::in_arena(p)) return Place::device;
  return memory::is_pinned(p, bytes) ? Place::pinned : Place::pageable;
}

// A copy of `height` rows; what a graph keeps of it.
struct Copy {
  void* to;
  std::size_t to_pitch;
  const void* from;
  std::size_t from_pitch, width, height;
  cudaMemcpyKind kind;

  static std::size_t span(std::size_t pitch, std::size_t width, std::size_t height) {
    return height == 0 || width == 0 ? 0 : (height - 1) * pitch + width;
  }
  std::size_t to_bytes() const { return span(to_pitch, width, height); }
  std::size_t from_bytes() const { return span(from_pitch, width, height); }
};

cudaError_t check_side(const char* side, const void* p, std::size_t bytes, bool on_device, bool any) {
  const std::string what = std::string(side) + " of a copy of " + std::to_string(bytes) + " bytes";
  if (!memory::in_arena(p)) {
    if (!p) return fail(cudaErrorInvalidValue, "the " + what + " is null");
    return on_device && !any && !memory::is_pinned(p, bytes)
               ? fail(cudaErrorInvalidValue, "the " + what + " is not device memory")
               : cudaSuccess;
  }
  if (!on_device && !any) return fail(cudaErrorInvalidValue, "the " + what + " is device memory");
  const auto found = memory::find(p);
  if (!found.begin) return fail(cudaErrorInvalidValue, "the " + what + " is not allocated");
  if (static_cast<const char*>(p) + bytes > found.begin + found.bytes)
    return fail(cudaErrorInvalidValue, "the " + what + " ends behind its allocation of " + std::to_string(found.bytes));
  return cudaSuccess;
}

cudaError_t check(const Copy& c) {
  if (c.kind < 0 || c.kind > cudaMemcpyDefault) return fail(cudaErrorInvalidMemcpyDirection);
  if (c.width > c.to_pitch || c.width > c.from_pitch) return fail(cudaErrorInvalidValue, "width > pitch");
  if (c.to_bytes() == 0) return cudaSuccess;
  const bool any = c.kind == cudaMemcpyDefault;
  if (const cudaError_t e = check_side("target", c.to, c.to_bytes(), c.kind & 1, any)) return e;
  return check_side("source", c.from, c.from_bytes(), c.kind & 2, any);
}

cudaError_t run(const Copy& c) {
  if (const cudaError_t e = check(c)) return e;
  const memory::Access access;
  auto* to = static_cast<char*>(c.to);
  const auto* from = static_cast<const char*>(c.from);
  for (std::size_t row = 0; row < c.height && c.width > 0; ++row)
    std::memmove(to + row * c.to_pitch, from + row * c.from_pitch, c.width);
  return cudaSuccess;
}

// A graph would copy whatever pageable memory holds at replay, or what has become of it. The device allows it.
cudaError_t copy_async(const Copy& c, cudaStream_t stream) {
  if (captures(stream) && is_stream(stream) && c.to_bytes() > 0 &&
      (place_of(c.to, c.to_bytes()) == Place::pageable || place_of(c.from, c.from_bytes()) == Place::pageable))
    return fail_capture(stream, cudaErrorStreamCaptureUnsupported, "a copy of pageable host memory");
  return submit(
      stream, cudaGraphNodeTypeMemcpy, [&] { return run(c); }, [&] { return [c] { return run(c); }; });
}

cudaError_t run_memset(void* p, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t e = check_side("target", p, bytes, true, false)) return e;
  const memory::Access access;
  std::memset(p, value, bytes);
  return cudaSuccess;
}

cudaError_t allocate(void** p, std::size_t bytes) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  *p = memory::allocate(bytes);
  return *p ? cudaSuccess : fail(cudaErrorMemoryAllocation, std::to_string(bytes) + " bytes");
}
cudaError_t release(void* p) {
  if (!p || memory::release(p)) return cudaSuccess;
  return fail(cudaErrorInvalidValue, "not an allocation on the device, or free already");
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return check_device(device); }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t e = check_device(device)) return e;
  *properties = {.name = "CUDA on CPU",
                 .totalGlobalMem = memory::kTotal,
                 .sharedMemPerBlock = 48 << 10,
                 .regsPerBlock = 65536,
                 .warpSize = 32,
                 .maxThreadsPerBlock = 1024,
                 .maxThreadsDim = {1024, 1024, 64},
                 .maxGridSize = {0x7fffffff, 65535, 65535},
                 .totalConstMem = 64 << 10,
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = kProcessors,
                 .l2CacheSize = 50 << 20,
                 .maxThreadsPerMultiProcessor = 2048,
                 .sharedMemPerMultiprocessor = 228 << 10,
                 .sharedMemPerBlockOptin = 227 << 10};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t e = cudaGetDeviceProperties(&p, device)) return e;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: *value = p.maxGridSize[1]; break;
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[2]; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = int(p.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(p.sharedMemPerBlockOptin); break;
    case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
    default: return fail(cudaErrorInvalidValue, "a device attribute the emulation does not know");
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  const Lock lock;
  if (const cudaError_t e = check_unsafe_call("cudaMalloc")) return e;
  return allocate(p, bytes);
}
cudaError_t cudaFree(void* p) {
  const Lock lock;
  if (const cudaError_t e = check_unsafe_call("cudaFree")) return e;
  return release(p);
}
cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t stream) {
  const Lock lock;
  if (const cudaError_t e = admit(stream)) return e;
  if (captures(stream)) return fail_capture(stream, cudaErrorNotSupported, "memory of a graph is not emulated");
  return allocate(p, bytes);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  const Lock lock;
  if (const cudaError_t e = admit(stream)) return e;
  if (captures(stream)) return fail_capture(stream, cudaErrorNotSupported, "memory of a graph is not emulated");
  return release(p);
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  const Lock lock;
  if (const cudaError_t e = check_unsafe_call("cudaMallocHost")) return e;
  *p = memory::allocate_pinned(bytes);
  return *p ? cudaSuccess : fail(cudaErrorMemoryAllocation, std::to_string(bytes) + " bytes");
}
cudaError_t cudaFreeHost(void* p) {
  const Lock lock;
  if (const cudaError_t e = check_unsafe_call("cudaFreeHost")) return e;
  if (!p || memory::release_pinned(p)) return cudaSuccess;
  return fail(cudaErrorInvalidValue, "not pinned memory, or free already");
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const Lock lock;
  *total = memory::kTotal;
  *free = memory::kTotal - memory::bytes_in_use();
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const Lock lock;
  if (const cudaError_t e = check_unsafe_call("cudaMemcpy")) return e;
  if (const cudaError_t e = check_waiting_call("cudaMemcpy", nullptr)) return e;
  return run(Copy{to, bytes, from, bytes, bytes, 1, kind});
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock;
  return copy_async({to, bytes, from, bytes, bytes, 1, kind}, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock;
  return copy_async({to, to_pitch, from, from_pitch, width, height, kind}, stream);
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  const Lock lock;
  return submit(
      stream, cudaGraphNodeTypeMemset, [&] { return run_memset(p, value, bytes); },
      [=] { return [=] { return run_memset(p, value, bytes); }; });
}
