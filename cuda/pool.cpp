#include "cuda/pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <set>
#include <string_view>

#include "core/errors.h"
#include "cuda/runtime.h"

namespace moegrad::cuda {
namespace {

std::recursive_mutex mutex;
MemoryStats counts;
PoolScope* scope = nullptr;
Pool* scoped = nullptr;
std::set<Pool*> retired;

Pool& main_pool() {
  static Pool* const pool = new Pool;  // outlives tensors in static variables
  return *pool;
}

// Reused memory hides mistakes from the tools that look for them (compute-sanitizer, the emulation's guard zones):
// MOEGRAD_CUDA_CACHE=0 gives every tensor memory of its own.
bool caching() {
  static const bool on = [] {
    const char* v = std::getenv("MOEGRAD_CUDA_CACHE");
    return !v || std::string_view(v) != "0";
  }();
  return on;
}

// Sizes are rounded to 512 bytes, then to eighths of a power of two, so that blocks fit again.
i64 rounded(i64 bytes) {
  if (!caching()) return bytes < 1 ? 1 : bytes;
  if (bytes <= 512) return 512;
  const i64 power = static_cast<i64>(std::bit_floor(static_cast<u64>(bytes - 1)));
  const i64 step = power / 8 < 512 ? 512 : power / 8;
  return (bytes + step - 1) / step * step;
}

// A capture must not be disturbed by the driver's own allocations, which do not belong to the stream.
struct RelaxedCapture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  RelaxedCapture() { check(cudaThreadExchangeStreamCaptureMode(&mode), "memory"); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode); }
};

void* from_driver(i64 bytes) {
  const RelaxedCapture relaxed;
  void* p = nullptr;
  if (cudaMalloc(&p, static_cast<std::size_t>(bytes)) == cudaSuccess) return p;
  cudaGetLastError();
  if (!capturing()) {
    synchronize();
    main_pool().trim();
  }
  if (cudaMalloc(&p, static_cast<std::size_t>(bytes)) == cudaSuccess) return p;
  cudaGetLastError();
  throw Error(fmt::format("memory: the device has no {} bytes left beside the {} in use; make tensors smaller or fewer",
                          bytes, counts.current_bytes));
}

}  // namespace

Pool::~Pool() { trim(); }

void* Pool::take(i64 bytes) {
  const i64 size = rounded(bytes);
  const auto at = free_.find(size);
  void* p = nullptr;
  if (at == free_.end() || at->second.empty()) {
    p = from_driver(size);
  } else {
    p = at->second.back();
    at->second.pop_back();
    cached_ -= size;
  }
  lent_++;
  return p;
}

void Pool::give_back(void* data, i64 bytes) {
  lent_--;
  free_[rounded(bytes)].push_back(data);
  cached_ += rounded(bytes);
}

void Pool::trim() {
  if (cached_ == 0) return;
  const RelaxedCapture relaxed;
  for (auto& [size, blocks] : free_)
    for (void* p : blocks) cudaFree(p);
  free_.clear();
  cached_ = 0;
}

PoolScope::PoolScope(Pool& pool) {
  const std::lock_guard lock(mutex);
  scope = this;
  scoped = &pool;
}
PoolScope::~PoolScope() {
  const std::lock_guard lock(mutex);
  scope = nullptr;
  scoped = nullptr;
}

void retire(std::unique_ptr<Pool> pool) {
  const std::lock_guard lock(mutex);
  if (pool->lent() > 0) retired.insert(pool.release());
}

namespace {

void give_back_to(Pool* pool, void* data, i64 bytes) {
  pool->give_back(data, bytes);
  if (pool->lent() == 0 && retired.erase(pool) > 0) delete pool;
}

}  // namespace

void give_back(std::vector<PoolScope::Block>& held) {
  const std::lock_guard lock(mutex);
  for (const PoolScope::Block& b : held) give_back_to(static_cast<Pool*>(b.owner), b.data, b.bytes);
  held.clear();
}

void* allocate(i64 bytes, void** owner) {
  const std::lock_guard lock(mutex);
  Pool& pool = scoped ? *scoped : main_pool();
  void* data = pool.take(bytes);
  *owner = &pool;
  counts.allocations++;
  counts.current_bytes += bytes;
  counts.peak_bytes = std::max(counts.peak_bytes, counts.current_bytes);
  return data;
}

void release(void* data, i64 bytes, void* owner) {
  const std::lock_guard lock(mutex);
  counts.current_bytes -= bytes;
  auto* pool = static_cast<Pool*>(owner);
  if (scope && pool != scoped) {
    scope->held.push_back({data, bytes, owner});
    return;
  }
  give_back_to(pool, data, bytes);
  if (!caching() && !scope && pool == &main_pool()) {
    cudaStreamSynchronize(stream());
    pool->trim();
  }
}

MemoryStats memory_stats() {
  const std::lock_guard lock(mutex);
  MemoryStats s = counts;
  s.cached_bytes = main_pool().cached_bytes();
  return s;
}
void reset_peak() {
  const std::lock_guard lock(mutex);
  counts.peak_bytes = counts.current_bytes;
}
void release_cache() {
  const std::lock_guard lock(mutex);
  synchronize();
  main_pool().trim();
}

}  // namespace moegrad::cuda
