// What the engine tells the sanitizers, and nothing where there are none. ASan must know of every change of stacks;
// to TSan each thread of a block is a thread of its own, and the engine (compiled without -fsanitize=thread) none of
// its business. CUDA_ON_CPU_TSAN is defined when the tests are compiled with -fsanitize=thread.
#pragma once
#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CUDA_ON_CPU_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char*, int);
extern "C" void AnnotateIgnoreReadsEnd(const char*, int);
extern "C" void AnnotateIgnoreWritesBegin(const char*, int);
extern "C" void AnnotateIgnoreWritesEnd(const char*, int);
#endif

namespace cuda_on_cpu::asan {

#ifdef __SANITIZE_ADDRESS__
constexpr bool on = true;
inline void poison(const void* p, std::size_t n) { __asan_poison_memory_region(p, n); }
inline void unpoison(const void* p, std::size_t n) { __asan_unpoison_memory_region(p, n); }
inline void start_switch(void** keep, const void* stack, std::size_t n) {
  __sanitizer_start_switch_fiber(keep, stack, n);
}
inline void finish_switch(void* kept, const void** left, std::size_t* n) {
  __sanitizer_finish_switch_fiber(kept, left, n);
}
#else
constexpr bool on = false;
inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*, const void**, std::size_t*) {}
#endif

}  // namespace cuda_on_cpu::asan

namespace cuda_on_cpu::tsan {

#ifdef CUDA_ON_CPU_TSAN
constexpr bool on = true;
inline void* create_fiber() { return __tsan_create_fiber(0); }
inline void destroy_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void* current_fiber() { return __tsan_get_current_fiber(); }
inline void switch_to(void* fiber) { __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync); }
inline void acquire(void* p) { __tsan_acquire(p); }
inline void release(void* p) { __tsan_release(p); }
struct Ignore {  // of what the engine reads and writes through instrumented functions of the standard library
  Ignore() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0); }
  ~Ignore() { AnnotateIgnoreWritesEnd("", 0), AnnotateIgnoreReadsEnd("", 0); }
};
#else
constexpr bool on = false;
inline void* create_fiber() { return nullptr; }
inline void destroy_fiber(void*) {}
inline void* current_fiber() { return nullptr; }
inline void switch_to(void*) {}
inline void acquire(void*) {}
inline void release(void*) {}
struct Ignore {
  Ignore() {}
  ~Ignore() {}
};
#endif

}  // namespace cuda_on_cpu::tsan
