#include "ops/cumsum.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"

namespace moegrad {

Tensor cumsum(const Tensor& x, int axis_any, CumsumOptions options) {
  const int axis = check_axis("cumsum", x.shape(), axis_any);
  const Tensor y = with_any(x.dtype(), [&]<class X>() {
    using Y = std::conditional_t<kIsFloat<X>, X, i64>;
    no_grad guard;
    const Tensor from = contiguous(x);
    Tensor to = empty(x.shape(), dtype_of<Y>, x.device());
    const AxisBlocks b = blocks_around(x.shape(), axis);
    if (x.size() > 0)
      MOEGRAD_LAUNCH(x.device(), cumsum_blocks, from.data<X>(), to.data<Y>(), b.outer, b.count, b.inner, options);
    return to;
  });
  if (!is_float(x.dtype())) return y;
  return record(
      "cumsum", y, {x}, saves(kNone),
      [axis, options](const GradArgs& g) -> Grads {
        return {cumsum(g.dy, axis, {.reverse = !options.reverse, .exclusive = options.exclusive})};
      },
      [axis, options] {
        return fmt::format("axis = {}, reverse = {}, exclusive = {}", axis, options.reverse, options.exclusive);
      });
}

// ---- CPU kernel

namespace {

constexpr i64 kGrain = 1 << 15;
constexpr i64 kColumns = 256;  // running sums of one block of columns: they stay in the L1 cache

// The running sum: floats in f64; integers wrap around.
template <class Y> using Total = std::conditional_t<kIsFloat<Y>, double, u64>;

// A strip of `columns` columns and `rows` rows, `step` (of either sign) elements apart; `total` goes in and comes out.
template <class X, class Y>
void scan_strip(const X* x, Y* y, i64 rows, i64 step, i64 columns, Total<Y>* __restrict total, bool exclusive) {
  using T = Total<Y>;
  if (columns == 1) {
    T sum = *total;
    for (i64 r = 0; r < rows; ++r, x += step, y += step) {
      const T before = sum;
      sum += convert<T>(*x);
      *y = convert<Y>(exclusive ? before : sum);
    }
    *total = sum;
    return;
  }
  for (i64 r = 0; r < rows; ++r, x += step, y += step)
    for (i64 c = 0; c < columns; ++c) {
      const T before = total[c];
      total[c] += convert<T>(x[c]);
      y[c] = convert<Y>(exclusive ? before : total[c]);
    }
}
template <class X, class T> void sum_strip(const X* x, i64 rows, i64 step, i64 columns, T* __restrict total) {
  if (columns == 1) {
    T sum = 0;
    for (i64 r = 0; r < rows; ++r) sum += convert<T>(x[r * step]);
    *total += sum;
    return;
  }
  for (i64 r = 0; r < rows; ++r, x += step)
    for (i64 c = 0; c < columns; ++c) total[c] += convert<T>(x[c]);
}

// A few long blocks: sums of chunks of rows first, then each chunk continues from the sum of those before it.
template <class X, class Y>
void scan_chunks(const X* x, Y* y, const Chunks& chunks, i64 step, i64 columns, bool exclusive) {
  using T = Total<Y>;
  std::vector<T> total(static_cast<std::size_t>((chunks.count + 1) * columns), T(0));
  parallel_for(chunks.count - 1, 1, [&](i64 begin, i64 end) {
    for (i64 k = begin; k < end; ++k)
      sum_strip(x + chunks.begin(k) * step, chunks.end(k) - chunks.begin(k), step, columns,
                total.data() + (k + 1) * columns);
  });
  for (i64 i = columns; i < chunks.count * columns; ++i)
    total[static_cast<std::size_t>(i)] += total[static_cast<std::size_t>(i - columns)];
  parallel_for(chunks.count, 1, [&](i64 begin, i64 end) {
    for (i64 k = begin; k < end; ++k)
      scan_strip(x + chunks.begin(k) * step, y + chunks.begin(k) * step, chunks.end(k) - chunks.begin(k), step, columns,
                 total.data() + k * columns, exclusive);
  });
}

}  // namespace

// A task is a strip of columns of one block. Many tasks: each thread takes several. Few: threads share each one's rows.
template <class X, class Y>
void cpu::cumsum_blocks(const X* x, Y* y, i64 outer, i64 count, i64 inner, const CumsumOptions& options) {
  const i64 strips = (inner + kColumns - 1) / kColumns, width = std::min(inner, kColumns);
  const i64 first = options.reverse ? (count - 1) * inner : 0, step = options.reverse ? -inner : inner;
  const Chunks chunks = reduction_chunks(count, kGrain / width + 1);
  const bool share = outer * strips < 16 && chunks.count > 1;
  const auto task = [&](i64 t) {
    const i64 column = t % strips * kColumns, columns = std::min(kColumns, inner - column);
    const i64 at = t / strips * count * inner + first + column;
    if (share) return scan_chunks(x + at, y + at, chunks, step, columns, options.exclusive);
    Total<Y> total[kColumns] = {};
    scan_strip(x + at, y + at, count, step, columns, total, options.exclusive);
  };
  parallel_for(outer * strips, share ? outer * strips : kGrain / (count * width) + 1, [&](i64 begin, i64 end) {
    for (i64 t = begin; t < end; ++t) task(t);
  });
}

}  // namespace moegrad
