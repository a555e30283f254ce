// Storage of tensors, and the allocator behind it: freed blocks are kept by size and reused, so that a training step
// asks the system for nothing once it is warm.
#pragma once
#include <cstddef>
#include <map>

#include "core/device.h"
#include "core/dtype.h"
#include "core/fwd.h"
#include "core/ref.h"

namespace moegrad {

/// The bytes of a tensor, shared by its views. `version` counts in-place updates.
struct Storage {
  int refs = 0;
  Device device{};
  u32 version = 0;
  i64 bytes = 0;
  std::byte* data = nullptr;
  void* owner = nullptr;  // of memory on a GPU: the pool it goes back to
  static void destroy(Storage* s);
};

/// Uninitialised storage for `count` elements. Throws Error: out of memory.
Ref<Storage> allocate(Device device, i64 count, DType dtype);

namespace memory {

/// What tensors use, in bytes (headers and rounding not counted): those of the calling thread on a CPU, those of all
/// threads on a GPU.
struct Stats {
  i64 current_bytes = 0;
  i64 peak_bytes = 0;
  i64 cached_bytes = 0;  ///< freed, kept for reuse
  i64 allocations = 0;   ///< storages made so far
};
Stats stats(Device device = default_device());
/// Sets peak_bytes to current_bytes.
void reset_peak(Device device = default_device());
/// Returns cached blocks to the system.
void release_cache(Device device = default_device());

/// Counts the storages made on this thread during its lifetime, by number of elements. Logs may be nested.
class AllocationLog {
 public:
  AllocationLog();
  ~AllocationLog();
  AllocationLog(const AllocationLog&) = delete;
  AllocationLog& operator=(const AllocationLog&) = delete;

  /// Storages of exactly `elements` elements.
  i64 count(i64 elements) const;
  /// Storages of at least `elements` elements.
  i64 count_at_least(i64 elements) const;
  /// Elements of the largest storage, 0 if none was made.
  i64 largest() const;
  /// Bytes of all storages made.
  i64 bytes() const { return bytes_; }
  void note(i64 elements, i64 bytes);

 private:
  std::map<i64, i64> by_elements_;
  i64 bytes_ = 0;
  AllocationLog* outer_;
};

/// Small blocks for handles and graph nodes, from the same cache.
void* allocate_block(std::size_t bytes);
void free_block(void* block, std::size_t bytes);

}  // namespace memory

/// Base of objects that are made and destroyed at every op: takes their memory from the cache.
struct Pooled {
  static void* operator new(std::size_t bytes) { return memory::allocate_block(bytes); }
  static void operator delete(void* p, std::size_t bytes) { memory::free_block(p, bytes); }
};

}  // namespace moegrad
