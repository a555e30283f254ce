// The threads of a running block, and who of them goes on when.
#pragma once
#include <string>

#include "cuda_on_cpu.h"
#include "cuda_runtime.h"

namespace cuda_on_cpu {

constexpr int kMaxThreads = 1024;

/// Runs all blocks of a grid. Empty: success; otherwise what went wrong.
std::string run_grid(const cudaLaunchConfig_t& config, void (*kernel)(const void*), const void* arguments);

}  // namespace cuda_on_cpu
