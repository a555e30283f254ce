// Asynchronous copies to shared memory. A copy may be done at any time between its call and the wait for it, so here the
// bytes are 0xff from the call on, and those of the source, as it is then, from the wait on: where a wait is missing, or
// where others still use what is overwritten, both read NaN.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cuda_runtime.h"

namespace cuda_on_cpu {

/// Copies of the running thread: begun one by one, put into a group together, and taken in that order where they are not
/// among the last `prior` groups (false: there is none).
struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t bytes, zeros;  // of the bytes, as many zeros at the end
};
void begin_copy(const AsyncCopy& copy);
void commit_copies();
bool take_copy(std::size_t prior, AsyncCopy* copy);

// Word by word, so that ThreadSanitizer sees who writes.
using Word __attribute__((may_alias)) = unsigned;
inline void invalidate(const AsyncCopy& c) {
  for (std::size_t i = 0; i < c.bytes / sizeof(Word); ++i) static_cast<Word*>(c.to)[i] = ~0u;
}
inline void carry_out(const AsyncCopy& c) {
  const std::size_t there = c.bytes - c.zeros;
  for (std::size_t i = 0; i < c.bytes / sizeof(Word); ++i) {
    Word word = 0;
    for (std::size_t b = i * sizeof(Word); b < (i + 1) * sizeof(Word) && b < there; ++b)
      word |= Word{static_cast<const unsigned char*>(c.from)[b]} << 8 * (b % sizeof(Word));
    static_cast<Word*>(c.to)[i] = word;
  }
}

}  // namespace cuda_on_cpu

inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes, std::size_t zeros = 0,
                                    cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  if ((bytes != 4 && bytes != 8 && bytes != 16) || zeros > bytes)
    cuda_on_cpu::refuse("copies other than 4, 8 or 16 bytes, or more zeros than that,", at);
  if (reinterpret_cast<std::uintptr_t>(to) % bytes != 0 || reinterpret_cast<std::uintptr_t>(from) % bytes != 0)
    cuda_on_cpu::refuse("copies from or to an address that is no multiple of the size", at);
  const cuda_on_cpu::AsyncCopy copy{to, from, bytes, zeros};
  cuda_on_cpu::begin_copy(copy);
  cuda_on_cpu::invalidate(copy);
}
inline void __pipeline_commit() { cuda_on_cpu::commit_copies(); }
/// Waits for all groups of the thread's copies but the last `prior` ones.
inline void __pipeline_wait_prior(std::size_t prior) {
  for (cuda_on_cpu::AsyncCopy c; cuda_on_cpu::take_copy(prior, &c);) cuda_on_cpu::carry_out(c);
}
