// Asynchronous copies (cuda_pipeline_primitives.h) that the threads of the running block have begun.
#pragma once

namespace cuda_on_cpu::copies {

/// Forgets those of the block before, which nobody waited for.
void begin_block();

}  // namespace cuda_on_cpu::copies
