#include "engine/launch.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "engine/block.h"
#include "engine/errors.h"
#include "engine/memory.h"
#include "engine/streams.h"

#if defined(__SANITIZE_ADDRESS__) || defined(CUDA_ON_CPU_TSAN)
extern "C" void __sanitizer_symbolize_pc(void* pc, const char* format, char* out, std::size_t bytes);
#endif

namespace cuda_on_cpu {
namespace {

constexpr std::size_t kSharedMemory = 48 << 10, kSharedMemoryOptIn = 227 << 10;

std::map<const void*, int> shared_limits;  // of kernels with more than kSharedMemory
const void* last_kernel;
bool running;

std::string text(dim3 d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

std::string wrong_shape(const cudaLaunchConfig_t& c, const void* kernel) {
  const dim3 grid = c.gridDim, block = c.blockDim;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return "the grid is empty: " + text(grid);
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return "the grid may be (2147483647, 65535, 65535); got " + text(grid);
  const auto count = std::uint64_t{block.x} * block.y * block.z;
  if (count == 0 || count > kMaxThreads || block.x > 1024 || block.y > 1024 || block.z > 64)
    return "a block has 1 to 1024 threads, at most (1024, 1024, 64); got " + text(block);
  if (c.dynamicSmemBytes <= kSharedMemory) return {};
  const auto it = shared_limits.find(kernel);
  const std::size_t limit = it == shared_limits.end() ? kSharedMemory : std::size_t(it->second);
  if (c.dynamicSmemBytes <= limit) return {};
  return "the kernel may have " + std::to_string(limit) +
         " bytes of dynamic shared memory (cudaFuncSetAttribute); got " + std::to_string(c.dynamicSmemBytes);
}

std::string wrong_pointer(const Call& call) {
  const void* found[Call::kMaxPointers];
  const int n = call.pointers(call.arguments, found);
  for (int i = 0; i < n; ++i) {
    if (!found[i]) continue;
    if (const auto allocation = memory::find(found[i]); allocation.begin) {
      memory::note_use(allocation);
    } else if (!memory::in_arena(found[i]) && !memory::is_pinned(found[i], 0)) {
      // (Behind an allocation may be where an empty view begins, which nobody reads.)
      return "pointer argument " + std::to_string(i) + " points to pageable memory of the host";
    }
  }
  return {};
}

}  // namespace

cudaError_t run_now(const cudaLaunchConfig_t& config, const Call& call) {
  last_kernel = call.kernel;
  if (const auto wrong = wrong_shape(config, call.kernel); !wrong.empty())
    return fail(cudaErrorInvalidConfiguration, wrong);
  if (const auto wrong = wrong_pointer(call); !wrong.empty()) return fail(cudaErrorInvalidDevicePointer, wrong);
  const memory::Access access;
  running = true;
  const std::string error = run_grid(config, call.run, call.arguments);
  running = false;
  memory::check_used();
  if (const auto damage = memory::take_damage(); error.empty() && !damage.empty())
    return fail_for_good(cudaErrorIllegalAddress, damage);
  return error.empty() ? cudaSuccess : fail_for_good(cudaErrorLaunchFailure, error);
}

cudaError_t launch(const cudaLaunchConfig_t& config, const Call& call) {
  const Lock lock;
  const auto run = [&] { return run_now(config, call); };
  const auto record = [&] {
    Call copy = call;
    const auto arguments = call.copy(call.arguments);
    copy.arguments = arguments.get();
    return [config, copy, arguments] { return run_now(config, copy); };
  };
  return submit(config.stream, cudaGraphNodeTypeKernel, run, record);
}

bool kernel_runs() { return running; }

bool describe_launch(char* out, std::size_t bytes) {
  if (!last_kernel) return false;
  char name[256] = "";
#if defined(__SANITIZE_ADDRESS__) || defined(CUDA_ON_CPU_TSAN)
  __sanitizer_symbolize_pc(const_cast<char*>(static_cast<const char*>(last_kernel)) + 1, "%f", name, sizeof name);
#else
  Dl_info info;
  if (dladdr(last_kernel, &info) != 0 && info.dli_saddr == last_kernel && info.dli_sname)
    std::snprintf(name, sizeof name, "%s", info.dli_sname);
#endif
  std::snprintf(out, bytes, "%s kernel %s%s block (%u,%u,%u), thread (%u,%u,%u)", running ? "in" : "after", name,
                *name ? "," : "of", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  return true;
}

}  // namespace cuda_on_cpu

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  using namespace cuda_on_cpu;
  const Lock lock;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;  // a hint
  if (value < 0 || std::size_t(value) > kSharedMemoryOptIn)
    return fail(cudaErrorInvalidValue,
                "a block has at most 232448 bytes of shared memory; got " + std::to_string(value));
  shared_limits[kernel] = value;
  return cudaSuccess;
}
