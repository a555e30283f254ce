// Dropout: one thread takes the four elements of one block of the generator. x is read and y written once.
#include "ops/dropout.h"

#include "core/philox.h"
#include "cuda/elementwise.cuh"

namespace moegrad::cuda {
namespace {

template <class F> struct KeepOrDrop {
  u32 threshold;
  Computed<F> scale;
  __device__ F operator()(F x, u32 word) const {
    return convert<F>((word >> 8) >= threshold ? value(x) * scale : Computed<F>(0));
  }
};

template <class F>
__global__ void __launch_bounds__(kBlock)
    dropout_kernel(const F* x, F* y, i64 n, random::Key key, KeepOrDrop<F> keep, bool aligned) {
  const u32 step = static_cast<u32>(*key.step);
  for (i64 b = first_index(); b < (n + 3) / 4; b += grid_stride()) {
    const random::Words w = random::philox(key.seed, key.draw, step, static_cast<u64>(b));
    if (aligned && 4 * b + 4 <= n) {
      Pack<F, 4> p = reinterpret_cast<const Pack<F, 4>*>(x)[b];
      for (int k = 0; k < 4; ++k) p.element[k] = keep(p.element[k], w.word[k]);
      reinterpret_cast<Pack<F, 4>*>(y)[b] = p;
    } else {
      for (int k = 0; k < 4; ++k)
        if (4 * b + k < n) y[4 * b + k] = keep(x[4 * b + k], w.word[k]);
    }
  }
}

}  // namespace

template <class F> void dropout_elements(const F* x, F* y, i64 n, const DropoutPlan& plan) {
  const Grid g = grid_for(n, 4);
  const auto fits = [](const F* p) { return reinterpret_cast<std::uintptr_t>(p) % alignof(Pack<F, 4>) == 0; };
  launch("dropout", g.blocks, g.threads, 0, dropout_kernel<F>, x, y, n, plan.key,
         KeepOrDrop<F>{plan.threshold, static_cast<Computed<F>>(plan.scale)}, fits(x) && fits(y));
}

template void dropout_elements(const float*, float*, i64, const DropoutPlan&);
template void dropout_elements(const double*, double*, i64, const DropoutPlan&);
template void dropout_elements(const bf16*, bf16*, i64, const DropoutPlan&);

}  // namespace moegrad::cuda
