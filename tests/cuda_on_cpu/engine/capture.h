// Which captures are going on. The lock must be held.
#pragma once
#include "engine/streams.h"

namespace cuda_on_cpu {

/// Null: none.
Capture* any_capture();
/// Work in the legacy default stream waits for all streams but those created as non-blocking.
Capture* capture_that_default_stream_waits_for();
/// The stream takes part in the capture that it holds.
void note_joined(cudaStream_t stream);

}  // namespace cuda_on_cpu
