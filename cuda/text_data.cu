// Windows of a text at random places: one thread for each position of a window.
#include "nn/text_data.h"

#include "cuda/launch.h"

namespace moegrad::cuda {

__global__ void random_windows_kernel(RandomWindows w, i64* inputs, i64* targets) {
  for (i64 i = first_index(); i < w.rows * w.block; i += grid_stride()) {
    const i32* from = w.text + w.start(i / w.block) + i % w.block;
    inputs[i] = from[0];
    targets[i] = from[1];
  }
}

void random_windows(const RandomWindows& w, i64* inputs, i64* targets) {
  const Grid g = grid_for(w.rows * w.block);
  launch("random_windows", g.blocks, g.threads, 0, random_windows_kernel, w, inputs, targets);
}

}  // namespace moegrad::cuda
