#include "engine/fibers.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>

#include "engine/sanitizers.h"

#if defined(__x86_64__)
// Saves the registers that a call must keep and the floating-point modes, changes stacks, restores.
extern "C" void cuda_on_cpu_switch_stack(void** from, void* to);
asm(R"(
.text
.globl cuda_on_cpu_switch_stack
.hidden cuda_on_cpu_switch_stack
.type cuda_on_cpu_switch_stack, @function
cuda_on_cpu_switch_stack:
  .cfi_startproc
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .cfi_endproc
.size cuda_on_cpu_switch_stack, . - cuda_on_cpu_switch_stack
)");
#endif

namespace cuda_on_cpu {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStack = 256 << 10;
// A page more than a power of two, and another line of the page for each: stacks do not fight for the same cache lines.
constexpr std::size_t kStride = kPage + kStack;
constexpr int kMaxFibers = 4096;
constexpr std::size_t kLine = 64, kColours = 48;

Fiber* left;  // the fiber that ran before this one

char* stacks() {
  static char* const all = [] {
    void* p = mmap(nullptr, kStride * kMaxFibers, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) abort();
    return static_cast<char*>(p);
  }();
  return all;
}

}  // namespace

void Fiber::create(int number) {
  number_ = number;
  memory = stacks() + kStride * std::size_t(number);
  if (number >= kMaxFibers || mprotect(memory + kPage, kStack, PROT_READ | PROT_WRITE) != 0) abort();
  stack = memory + kPage;
  bytes = kStack;
}

bool is_stack_guard(const void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(stacks());
  return at < kStride * kMaxFibers && at % kStride < kPage;
}

#if defined(__x86_64__)

void Fiber::reset(void (*main)()) {
  asan::unpoison(stack, bytes);
  if (tsan) tsan::destroy_fiber(tsan);
  tsan = tsan::create_fiber();
  fake_stack = nullptr;
  auto** top = reinterpret_cast<void**>(memory + kStride - std::size_t(number_) % kColours * kLine) - 2;
  *top = reinterpret_cast<void*>(main);  // what the switch returns to, once it has popped six registers
  sp = top - 6;
}

static void change_stacks(Fiber& from, Fiber& to) { cuda_on_cpu_switch_stack(&from.sp, to.sp); }

#else

void Fiber::reset(void (*main)()) {
  asan::unpoison(stack, bytes);
  if (tsan) tsan::destroy_fiber(tsan);
  tsan = tsan::create_fiber();
  fake_stack = nullptr;
  if (!sp) sp = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(sp);
  getcontext(context);
  context->uc_stack.ss_sp = memory + kPage;
  context->uc_stack.ss_size = kStack;
  context->uc_link = nullptr;
  makecontext(context, main, 0);
}

static void change_stacks(Fiber& from, Fiber& to) {
  if (!from.sp) from.sp = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from.sp), static_cast<ucontext_t*>(to.sp));
}

#endif

void switch_fiber(Fiber& from, Fiber& to) {
  left = &from;
  asan::start_switch(&from.fake_stack, to.stack, to.bytes);
  tsan::switch_to(to.tsan);
  change_stacks(from, to);
  asan::finish_switch(from.fake_stack, &left->stack, &left->bytes);
}

void fiber_started() { asan::finish_switch(nullptr, &left->stack, &left->bytes); }

}  // namespace cuda_on_cpu
