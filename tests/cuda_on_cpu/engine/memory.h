// Device memory: one range of addresses, which the host may touch only while the device works. Allocations have guard
// zones around them; what is fresh, freed or a guard zone is filled with 0xff, which is NaN.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "host_types.h"

namespace cuda_on_cpu::memory {

constexpr std::size_t kAlign = 256;
constexpr std::size_t kTotal = std::size_t{64} << 30;

/// While one lives, device memory can be read and written. They may be nested.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

/// Null: out of memory.
void* allocate(std::size_t bytes);
/// False: p was not given by allocate, or is free already.
bool release(void* p);
/// The live allocation that p points into (or behind the last byte of): its address and size; null if there is none.
struct Found {
  const char* begin = nullptr;
  std::size_t bytes = 0;
  bool operator!() const { return !begin; }
};
Found find(const void* p);
bool in_arena(const void* p);
std::size_t bytes_in_use();

/// Allocations given to a kernel are looked after at the next check.
void note_use(const Found& allocation);
/// Looks at the guard zones of allocations in use since the last time, and at those of some more. Within an Access.
void check_used();
/// What was found to be overwritten, by a check or when memory was freed or given out again, since the last call.
std::string take_damage();

/// Memory of the host which the device may use.
void* allocate_pinned(std::size_t bytes);
bool release_pinned(void* p);
bool is_pinned(const void* p, std::size_t bytes);

}  // namespace cuda_on_cpu::memory
