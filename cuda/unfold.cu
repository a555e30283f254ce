// Windows of images. Both ways every output element is computed by one thread from what it reads, so nothing is added
// by two threads: unfold reads one element for each that it writes, fold the up to k l that fall onto an element, in
// the order of the CPU's sum.
#include "ops/unfold.h"

#include "core/bf16.h"
#include "core/dtype.h"
#include "cuda/launch.h"

namespace moegrad::cuda {
namespace {

// i / n and i % n: a division of 64 bits takes several times as long as one of 32.
struct Divided {
  i64 whole, rest;
  __device__ Divided(i64 i, i64 n) {
    if ((i | n) <= 0xffffffff) {
      whole = static_cast<u32>(i) / static_cast<u32>(n);
      rest = i - whole * n;
    } else {
      whole = i / n;
      rest = i % n;
    }
  }
};

template <class F>
__global__ void __launch_bounds__(kBlock) unfold_windows_kernel(const F* image, F* columns, WindowPlan p, i64 n) {
  const WindowOptions& o = p.options;
  for (i64 i = first_index(); i < n; i += grid_stride()) {
    const Divided b(i, p.across), a(b.whole, p.down), column(a.whole, p.kernel.columns),
        row(column.whole, p.kernel.rows);
    const i64 y = a.rest * o.stride.rows + row.rest * o.dilation.rows - o.padding.rows;
    const i64 x = b.rest * o.stride.columns + column.rest * o.dilation.columns - o.padding.columns;
    const bool inside = y >= 0 && y < p.height && x >= 0 && x < p.width;
    columns[i] = inside ? image[(row.whole * p.height + y) * p.width + x] : convert<F>(0.0f);
  }
}

// The window whose element lies `at` positions behind the first window's first element, or -1.
__device__ inline i64 window_at(i64 at, i64 stride, i64 windows) {
  if (at < 0) return -1;
  const Divided d(at, stride);
  return d.rest == 0 && d.whole < windows ? d.whole : -1;
}

template <class F>
__global__ void __launch_bounds__(kBlock) fold_windows_kernel(const F* columns, F* image, WindowPlan p, i64 n) {
  const WindowOptions& o = p.options;
  for (i64 i = first_index(); i < n; i += grid_stride()) {
    const Divided x(i, p.width), y(x.whole, p.height);
    Computed<F> sum = 0;
    for (i64 row = 0; row < p.kernel.rows; ++row) {
      const i64 a = window_at(y.rest + o.padding.rows - row * o.dilation.rows, o.stride.rows, p.down);
      if (a < 0) continue;
      for (i64 column = 0; column < p.kernel.columns; ++column) {
        const i64 b = window_at(x.rest + o.padding.columns - column * o.dilation.columns, o.stride.columns, p.across);
        if (b < 0) continue;
        const i64 element = (y.whole * p.kernel.rows + row) * p.kernel.columns + column;
        sum += convert<Computed<F>>(columns[(element * p.down + a) * p.across + b]);
      }
    }
    image[i] = convert<F>(sum);
  }
}

}  // namespace

template <class F> void unfold_windows(const F* image, F* columns, const WindowPlan& p) {
  const i64 n = p.planes * p.kernel.rows * p.kernel.columns * p.down * p.across;
  const Grid g = grid_for(n);
  launch("unfold", g.blocks, g.threads, 0, unfold_windows_kernel<F>, image, columns, p, n);
}

template <class F> void fold_windows(const F* columns, F* image, const WindowPlan& p) {
  const i64 n = p.planes * p.height * p.width;
  const Grid g = grid_for(n);
  launch("fold", g.blocks, g.threads, 0, fold_windows_kernel<F>, columns, image, p, n);
}

template void unfold_windows(const float*, float*, const WindowPlan&);
template void unfold_windows(const double*, double*, const WindowPlan&);
template void unfold_windows(const bf16*, bf16*, const WindowPlan&);
template void fold_windows(const float*, float*, const WindowPlan&);
template void fold_windows(const double*, double*, const WindowPlan&);
template void fold_windows(const bf16*, bf16*, const WindowPlan&);

}  // namespace moegrad::cuda
