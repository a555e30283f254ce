// What a crash in or around device code says before the process ends.
#pragma once

namespace cuda_on_cpu {

/// Installs the handlers, once.
void note_crashes();

}  // namespace cuda_on_cpu
