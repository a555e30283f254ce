#include "ops/tile.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/cast.h"
#include "ops/cumsum.h"
#include "ops/gather.h"
#include "ops/indices.h"
#include "ops/nonzero.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// x with a new axis of `times` at `at`, joined with the one behind it (or before it).
Tensor repeated(const Tensor& x, int axis, int at, i64 times) {
  Shape wide = x.shape(), y = x.shape();
  wide.insert(at, times);
  y[axis] *= times;
  return reshape(expand(unsqueeze(x, at), wide), y);
}

// Where each position of the result comes from: position j from the first i with counts[0] + .. + counts[i] > j.
Tensor origins(const Tensor& counts) {
  no_grad guard;
  detail::reads_values("repeat_interleave", counts.device());
  i64 total = 0;
  for (const i64 c : counts.to_vector<i64>()) {
    if (c < 0) throw IndexError(fmt::format("repeat_interleave: counts must be >= 0; got {}", c));
    if (c > (i64{1} << 61) - total)
      throw ShapeError(
          fmt::format("repeat_interleave: the sum of the counts must be at most 2^61; got {} and {} more", total, c));
    total += c;
  }
  return cumsum(segment(bincount(cumsum(counts, 0), total + 1), 0, 0, total), 0);
}

}  // namespace

Tensor tile(const Tensor& x, const Shape& times) {
  Tensor y = x;
  while (y.rank() < times.rank()) y = unsqueeze(y, 0);
  Shape shape = y.shape();
  const int extra = y.rank() - times.rank();
  for (int i = 0; i < times.rank(); ++i) {
    if (times[i] < 0) throw ShapeError(fmt::format("tile: numbers must be >= 0; got {}", to_string(times)));
    shape[i + extra] = std::max<i64>(shape[i + extra], 1);
    check_sizes("tile", {shape[i + extra], times[i]});
    shape[i + extra] *= times[i];
  }
  check_sizes("tile", shape);
  for (int i = 0; i < times.rank(); ++i)
    if (times[i] != 1) y = repeated(y, i + extra, i + extra, times[i]);
  return y;
}

Tensor repeat_interleave(const Tensor& x, i64 times, int axis_any) {
  const int axis = check_axis("repeat_interleave", x.shape(), axis_any);
  if (times < 0)
    throw ShapeError(
        fmt::format("repeat_interleave: times must be >= 0; got {} for x {}", times, to_string(x.shape())));
  Shape wide = x.shape();
  wide.insert(axis + 1, times);
  check_sizes("repeat_interleave", wide);
  return repeated(x, axis, axis + 1, times);
}
Tensor repeat_interleave(const Tensor& x, i64 times) { return repeat_interleave(flatten(x), times, 0); }

Tensor repeat_interleave(const Tensor& x, const Tensor& counts_any, int axis_any) {
  const int axis = check_axis("repeat_interleave", x.shape(), axis_any);
  const i64 n = x.shape()[axis];
  check_same_device("repeat_interleave", x, counts_any);
  if (!is_int(counts_any.dtype())) throw_dtype("repeat_interleave", "i64 or i32 (the counts)", counts_any.dtype());
  if (counts_any.rank() > 1 || (counts_any.rank() == 1 && counts_any.dim(0) != n))
    throw ShapeError(
        fmt::format("repeat_interleave: there must be a count for every position of axis {}; got counts {} "
                    "for x {}",
                    axis, to_string(counts_any.shape()), to_string(x.shape())));
  return index_select(x, axis, origins(expand(cast(counts_any, DType::i64), {n})));
}
Tensor repeat_interleave(const Tensor& x, const Tensor& counts) { return repeat_interleave(flatten(x), counts, 0); }

std::vector<Tensor> meshgrid(std::span<const Tensor> xs, bool swap_first_two) {
  Shape shape;
  for (const Tensor& x : xs) {
    if (x.rank() > 1) throw ShapeError(fmt::format("meshgrid: every x must be [n]; got {}", to_string(x.shape())));
    shape.push_back(x.size());
  }
  const int rank = shape.rank();
  std::vector<Tensor> ys;
  for (int i = 0; i < rank; ++i) {
    Shape line(rank, 1);
    line[i] = shape[i];
    const Tensor y = expand(reshape(xs[static_cast<std::size_t>(i)], line), shape);
    ys.push_back(swap_first_two && rank > 1 ? swap_axes(y, 0, 1) : y);
  }
  return ys;
}
std::vector<Tensor> meshgrid(std::initializer_list<Tensor> xs, bool swap_first_two) {
  return meshgrid(std::span<const Tensor>(xs.begin(), xs.size()), swap_first_two);
}

}  // namespace moegrad
