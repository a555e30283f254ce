// Races between blocks, for TSan. Blocks run one after the other, and to TSan nothing orders two blocks that follow each
// other: it reports what they do to the same place of global memory. Shared memory, however, is each block's own, although
// all blocks have it at the same address. So the engine gives TSan other addresses for what lies in the program's static
// data while a kernel runs: a window for each block.
#pragma once

namespace cuda_on_cpu::races {

/// Where TSan shall see a block's static data from now on.
void begin_block();
/// The kernel is about to run, or has ended.
void set_running(bool running);
/// Tells TSan of an atomic access to p.
void note_atomic(void* p);

}  // namespace cuda_on_cpu::races
