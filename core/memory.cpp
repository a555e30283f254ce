#include "core/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

#include "core/cuda.h"
#include "core/device.h"

namespace moegrad {
namespace {

constexpr std::size_t kAlign = 64;                         // a cache line, and the widest vector register
constexpr std::size_t kCacheLimit = std::size_t{4} << 30;  // beyond this, freed blocks go back to the system
constexpr i64 kMostBytes = i64{1} << 46;                   // 64 TiB: refused without asking the system
constexpr int kBins = 4 * 64;

// A reused block would hide a use after free, so AddressSanitizer sees none.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCaching = false;
#elif defined(__has_feature)
constexpr bool kCaching = !__has_feature(address_sanitizer);
#else
constexpr bool kCaching = true;
#endif

// Size classes: whole cache lines up to 256 bytes, then quarter steps between powers of two (256, 320, 384, 448, 512,
// 640, ..), so that at most a fifth of a larger block is unused.
struct SizeClass {
  int bin;
  std::size_t bytes;
};
SizeClass size_class(std::size_t bytes) {
  if (bytes <= 4 * kAlign) {
    const std::size_t lines = bytes == 0 ? 1 : (bytes + kAlign - 1) / kAlign;
    return {static_cast<int>(lines), lines * kAlign};
  }
  const int log = std::bit_width(bytes - 1) - 1;         // 2^log < bytes <= 2^(log+1), log >= 8
  const int shift = log - 2;                             // a step is 2^shift
  const std::size_t steps = ((bytes - 1) >> shift) + 1;  // 5..8
  return {4 * (log - 8) + static_cast<int>(steps), steps << shift};
}

struct FreeBlock {
  FreeBlock* next;
};

// These outlive the thread's cache: a tensor in a static variable may go, or even be made, after it.
thread_local bool cache_gone = false;  // blocks then come from the system and go back there
thread_local memory::Stats counts;
thread_local memory::AllocationLog* log_in_use = nullptr;

struct Cache {
  FreeBlock* bins[kBins] = {};
  std::size_t cached = 0;

  ~Cache() {
    release();
    cache_gone = true;
  }
  void release() {
    for (FreeBlock*& bin : bins)
      while (bin) std::free(std::exchange(bin, bin->next));
    cached = 0;
  }
};
thread_local Cache cache;

void* system_block(std::size_t bytes) {
  void* p = std::aligned_alloc(kAlign, bytes);
  if (!p && !cache_gone) {
    cache.release();
    p = std::aligned_alloc(kAlign, bytes);
  }
  if (!p) throw Error(fmt::format("memory: the system has no {} bytes left; make tensors smaller or fewer", bytes));
  return p;
}

}  // namespace

void* memory::allocate_block(std::size_t bytes) {
  const SizeClass c = size_class(bytes);
  if (!kCaching || cache_gone) return system_block(c.bytes);
  FreeBlock*& bin = cache.bins[c.bin];
  if (!bin) return system_block(c.bytes);
  cache.cached -= c.bytes;
  return std::exchange(bin, bin->next);
}

void memory::free_block(void* block, std::size_t bytes) {
  const SizeClass c = size_class(bytes);
  if (!kCaching || cache_gone || cache.cached + c.bytes > kCacheLimit) {
    std::free(block);
    return;
  }
  FreeBlock*& bin = cache.bins[c.bin];
  bin = new (block) FreeBlock{bin};
  cache.cached += c.bytes;
}

// A CPU storage is one block: its header in the first cache line, the elements behind it.
static_assert(sizeof(Storage) <= kAlign);

Ref<Storage> allocate(Device device, i64 count, DType dtype) {
  check_device("allocate", device);
  if (count > kMostBytes / byte_size(dtype))
    throw Error(fmt::format("memory: {} elements of {} are more than any machine has", count, name(dtype)));
  const i64 bytes = count * byte_size(dtype);
  Storage* storage = nullptr;
  if (device == Device::cpu) {
    void* block = memory::allocate_block(kAlign + static_cast<std::size_t>(bytes));
    storage = new (block) Storage{.device = device, .bytes = bytes, .data = static_cast<std::byte*>(block) + kAlign};
    counts.allocations++;
    counts.current_bytes += bytes;
    counts.peak_bytes = std::max(counts.peak_bytes, counts.current_bytes);
  } else if constexpr (kWithCuda) {  // the header stays with the host
    void* owner = nullptr;
    auto* data = static_cast<std::byte*>(cuda::allocate(bytes, &owner));
    storage =
        new (memory::allocate_block(kAlign)) Storage{.device = device, .bytes = bytes, .data = data, .owner = owner};
  }
  if (log_in_use) log_in_use->note(count, bytes);
  return Ref<Storage>(storage);
}

void Storage::destroy(Storage* s) {
  const Storage storage = *s;
  s->~Storage();
  if (storage.device == Device::cpu) {
    counts.current_bytes -= storage.bytes;
    memory::free_block(s, kAlign + static_cast<std::size_t>(storage.bytes));
  } else if constexpr (kWithCuda) {
    memory::free_block(s, kAlign);
    cuda::release(storage.data, storage.bytes, storage.owner);
  }
}

memory::Stats memory::stats(Device device) {
  if constexpr (kWithCuda) {
    if (device == Device::cuda) {
      const cuda::MemoryStats s = cuda::memory_stats();
      return {s.current_bytes, s.peak_bytes, s.cached_bytes, s.allocations};
    }
  }
  Stats s = counts;
  s.cached_bytes = cache_gone ? 0 : static_cast<i64>(cache.cached);
  return s;
}
void memory::reset_peak(Device device) {
  if constexpr (kWithCuda)
    if (device == Device::cuda) return cuda::reset_peak();
  counts.peak_bytes = counts.current_bytes;
}
void memory::release_cache(Device device) {
  if constexpr (kWithCuda)
    if (device == Device::cuda) return cuda::release_cache();
  if (!cache_gone) cache.release();
}

memory::AllocationLog::AllocationLog() : outer_(std::exchange(log_in_use, this)) {}
memory::AllocationLog::~AllocationLog() { log_in_use = outer_; }

void memory::AllocationLog::note(i64 elements, i64 bytes) {
  by_elements_[elements]++;
  bytes_ += bytes;
  if (outer_) outer_->note(elements, bytes);
}
i64 memory::AllocationLog::count(i64 elements) const {
  const auto at = by_elements_.find(elements);
  return at == by_elements_.end() ? 0 : at->second;
}
i64 memory::AllocationLog::count_at_least(i64 elements) const {
  i64 n = 0;
  for (auto at = by_elements_.lower_bound(elements); at != by_elements_.end(); ++at) n += at->second;
  return n;
}
i64 memory::AllocationLog::largest() const { return by_elements_.empty() ? 0 : by_elements_.rbegin()->first; }

}  // namespace moegrad
