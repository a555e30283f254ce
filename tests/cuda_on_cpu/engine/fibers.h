// Fibers: stacks of their own, between which one thread of the host changes.
#pragma once
#include <cstddef>

namespace cuda_on_cpu {

struct Fiber {
  void* sp = nullptr;           // where it goes on
  char* memory = nullptr;       // null for the stack that the host came with
  const void* stack = nullptr;  // its lowest address; the host's is unknown until ASan tells
  std::size_t bytes = 0;
  void* fake_stack = nullptr;
  void* tsan = nullptr;
  Fiber* next_idle = nullptr;

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  /// Gets memory for a stack; the page below it is protected.
  void create(int number);
  /// Starts at `main` when it is switched to, whatever it did before.
  void reset(void (*main)());

 private:
  int number_ = 0;
};

/// Goes on with `to`; returns when something switches back to `from`.
void switch_fiber(Fiber& from, Fiber& to);
/// The first thing that a fiber's main does.
void fiber_started();
/// Whether p lies in the protected page below a fiber's stack.
bool is_stack_guard(const void* p);

}  // namespace cuda_on_cpu
