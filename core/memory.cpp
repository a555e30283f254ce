#include "core/memory.h"

#include <fmt/format.h>

#include <bit>
#include <cstdlib>
#include <new>

#include "core/device.h"

namespace moegrad {
namespace {

constexpr std::size_t kAlign = 64;                         // a cache line, and the widest vector register
constexpr std::size_t kCacheLimit = std::size_t{4} << 30;  // beyond this, freed blocks go back to the system
constexpr int kBins = 4 * 64;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCaching = false;  // a reused block would hide a use after free
#else
constexpr bool kCaching = true;
#endif

// Size classes: 64 bytes and up in quarter steps between powers of two (64, 80, 96, 112, 128, 160, ..), so that at most
// a fifth of a block is unused.
struct SizeClass {
  int bin;
  std::size_t bytes;
};
SizeClass size_class(std::size_t bytes) {
  if (bytes <= kAlign) return {0, kAlign};
  const int log = std::bit_width(bytes - 1) - 1;  // 2^log < bytes <= 2^(log+1)
  const std::size_t quarter = std::size_t{1} << (log - 2);
  const std::size_t steps = (bytes - (std::size_t{1} << log) + quarter - 1) / quarter;  // 1..4
  const std::size_t rounded = (std::size_t{1} << log) + steps * quarter;
  return {4 * (log - 6) + static_cast<int>(steps), (rounded + kAlign - 1) / kAlign * kAlign};
}

struct FreeBlock {
  FreeBlock* next;
};

thread_local bool cache_gone = false;  // set once the thread's cache was destroyed; frees then go to the system

struct Cache {
  FreeBlock* bins[kBins] = {};
  std::size_t cached = 0;
  memory::Stats stats;
  memory::AllocationLog* log = nullptr;

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
  if (count > (i64{1} << 56))
    throw Error(fmt::format("memory: {} elements of {} are more than any machine has", count, name(dtype)));
  const i64 bytes = count * byte_size(dtype);
  void* block = memory::allocate_block(kAlign + static_cast<std::size_t>(bytes));
  auto* storage =
      new (block) Storage{.device = device, .bytes = bytes, .data = static_cast<std::byte*>(block) + kAlign};
  cache.stats.allocations++;
  cache.stats.current_bytes += bytes;
  cache.stats.peak_bytes = std::max(cache.stats.peak_bytes, cache.stats.current_bytes);
  if (cache.log) cache.log->note(count, bytes);
  return Ref<Storage>(storage);
}

void Storage::destroy(Storage* s) {
  const i64 bytes = s->bytes;
  if (!cache_gone) cache.stats.current_bytes -= bytes;
  s->~Storage();
  memory::free_block(s, kAlign + static_cast<std::size_t>(bytes));
}

memory::Stats memory::stats() {
  Stats s = cache.stats;
  s.cached_bytes = static_cast<i64>(cache.cached);
  return s;
}
void memory::reset_peak() { cache.stats.peak_bytes = cache.stats.current_bytes; }
void memory::release_cache() { cache.release(); }

memory::AllocationLog::AllocationLog() : outer_(cache.log) { cache.log = this; }
memory::AllocationLog::~AllocationLog() { cache.log = outer_; }

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
