#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "engine/fibers.h"
#include "engine/launch.h"
#include "engine/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_on_cpu {
namespace {

struct sigaction before;  // what the process did about SIGSEGV

void say(const char* text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void say_launch() {
  char text[512];
  if (!describe_launch(text, sizeof text - 2)) return;
  std::strcat(text, "\n");
  say("cuda_on_cpu: ");
  say(text);
}

void on_segv(int, siginfo_t* info, void*) {
  char text[256];
  const void* p = info->si_addr;
  if (kernel_runs()) {
    std::snprintf(text, sizeof text, "cuda_on_cpu: %s at %p\n",
                  is_stack_guard(p) ? "device code overflows its stack" : "device code touches memory it may not", p);
    say(text);
    say_launch();
  } else if (memory::in_arena(p)) {
    const auto found = memory::find(p);
    if (found.begin) {
      std::snprintf(text, sizeof text,
                    "cuda_on_cpu: host code touches device memory at %p: byte %td of an allocation of %zu\n", p,
                    static_cast<const char*>(p) - found.begin, found.bytes);
    } else {
      std::snprintf(text, sizeof text, "cuda_on_cpu: host code touches device memory at %p, which is not allocated\n",
                    p);
    }
    say(text);
  }
  sigaction(SIGSEGV, &before, nullptr);  // the access is tried again, and does what it did without us
}

}  // namespace

void catch_crashes() {
  struct sigaction action = {};
  action.sa_sigaction = on_segv;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &before);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback([] {
    if (kernel_runs()) say_launch();
  });
#endif
}

}  // namespace cuda_on_cpu

#ifdef CUDA_ON_CPU_TSAN
// Called by TSan for each report.
extern "C" void __tsan_on_report(void*) {
  if (cuda_on_cpu::kernel_runs()) cuda_on_cpu::say_launch();
}
#endif
