// Launches of kernels.
#pragma once
#include "cuda_runtime.h"

namespace cuda_on_cpu {

/// Checks a launch and runs it. The lock must be held.
cudaError_t run_now(const cudaLaunchConfig_t& config, const Call& call);
/// Writes "in kernel .., block (..), thread (..)" of what runs, or ran last, on the device. False: nothing ran yet.
bool describe_launch(char* text, std::size_t bytes);
/// Whether a kernel is running.
bool kernel_runs();

}  // namespace cuda_on_cpu
