#include "engine/races.h"

#include "atomics.h"

#ifdef CUDA_ON_CPU_TSAN

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "engine/sanitizers.h"

extern "C" char __bss_start, _end;  // the linker's: static data without an initial value
extern "C" std::uint8_t __tsan_atomic8_fetch_add(volatile std::uint8_t*, std::uint8_t, int order);

namespace {

constexpr std::uintptr_t kWindows = 64;

bool running;
std::uintptr_t windows, stride, offset, number;

std::uintptr_t first() { return reinterpret_cast<std::uintptr_t>(&__bss_start); }

void* seen_at(void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p) - first();
  return running && at < stride ? reinterpret_cast<void*>(windows + offset + at) : p;
}

}  // namespace

namespace cuda_on_cpu::races {

void begin_block() {
  const tsan::Ignore ignore;
  if (!stride) stride = (reinterpret_cast<std::uintptr_t>(&_end) - first() + 4095) / 4096 * 4096;
  offset = number % kWindows * stride;
  if (number++ % kWindows != 0) return;
  // Mapped anew, the windows have no history.
  void* p = mmap(reinterpret_cast<void*>(windows), kWindows * stride, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (windows ? MAP_FIXED : 0), -1, 0);
  if (p == MAP_FAILED) std::abort();
  windows = reinterpret_cast<std::uintptr_t>(p);
}
void set_running(bool now) { running = now; }
void note_atomic(void* p) { __tsan_atomic8_fetch_add(static_cast<std::uint8_t*>(seen_at(p)), 0, 0 /* relaxed */); }

}  // namespace cuda_on_cpu::races

// The compiler inserts these calls; the linker's --wrap brings them here. A race is at the caller's line.
#define WRAP(NAME)                              \
  extern "C" void NAME##_pc(void* p, void* pc); \
  extern "C" void __wrap_##NAME(void* p);       \
  extern "C" void __wrap_##NAME(void* p) { NAME##_pc(seen_at(p), __builtin_return_address(0)); }
#define WRAP_RANGE(NAME)                                           \
  extern "C" void NAME##_pc(void* p, std::size_t bytes, void* pc); \
  extern "C" void __wrap_##NAME(void* p, std::size_t bytes);       \
  extern "C" void __wrap_##NAME(void* p, std::size_t bytes) {      \
    NAME##_pc(seen_at(p), bytes, __builtin_return_address(0));     \
  }
WRAP(__tsan_read1)
WRAP(__tsan_read2)
WRAP(__tsan_read4)
WRAP(__tsan_read8)
WRAP(__tsan_read16)
WRAP(__tsan_write1)
WRAP(__tsan_write2)
WRAP(__tsan_write4)
WRAP(__tsan_write8)
WRAP(__tsan_write16)
WRAP_RANGE(__tsan_read_range)
WRAP_RANGE(__tsan_write_range)

#else

namespace cuda_on_cpu::races {
void begin_block() {}
void set_running(bool) {}
void note_atomic(void*) {}
}  // namespace cuda_on_cpu::races

#endif

namespace cuda_on_cpu {

void note_atomic(void* p) { races::note_atomic(p); }
void copy_unseen(void* to, const void* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    static_cast<volatile char*>(to)[i] = static_cast<const volatile char*>(from)[i];
}

}  // namespace cuda_on_cpu
