#include "ops/nonzero.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/autograd.h"
#include "core/choose.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/gather.h"
#include "ops/indices.h"
#include "ops/reduce.h"
#include "ops/scatter.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// Positions of the true elements of a bool tensor. A mask says nothing of how narrowly it was decided: no margin.
Tensor true_positions(const char* name, const Tensor& mask_any) {
  const auto find = [&] {
    detail::reads_values(name, mask_any.device());
    const Tensor mask = contiguous(mask_any);
    const i64 count = static_cast<i64>(count_nonzero(mask).item());
    Tensor y = empty({count, mask.rank()}, DType::i64, mask.device());
    NonzeroPlan plan{mask.size(), mask.rank(), {}};
    std::copy(mask.shape().begin(), mask.shape().end(), plan.sizes);
    if (y.size() > 0) MOEGRAD_LAUNCH(mask.device(), nonzero_positions, mask.data<bool>(), y.data<i64>(), plan);
    return y;
  };
  return choose(name, mask_any, find, [](const Tensor&) { return std::numeric_limits<double>::infinity(); });
}

// The index of bincount as [count], and the size of its result.
std::pair<Tensor, i64> counted(const Tensor& index_any, i64 least) {
  constexpr i64 kMost = i64{1} << 61;
  if (!is_int(index_any.dtype())) throw_dtype("bincount", "i64 or i32 (an index)", index_any.dtype());
  if (least < 0) throw ShapeError(fmt::format("bincount: least must be >= 0; got {}", least));
  detail::reads_values("bincount", index_any.device());
  const Tensor index = flatten(cast(index_any, DType::i64));
  if (index.size() == 0) return {index, least};
  const i64 low = amin(index).to_vector<i64>()[0], high = amax(index).to_vector<i64>()[0];
  if (low < -1 || high > kMost)
    throw IndexError(fmt::format("bincount: values must be in [-1, 2^61]; got {} in index {}", low < -1 ? low : high,
                                 moegrad::to_string(index_any.shape())));
  return {index, std::max(least, high + 1)};
}

}  // namespace

Tensor nonzero(const Tensor& x) {
  no_grad guard;
  return true_positions("nonzero", cast(x, DType::boolean));
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  if (mask.dtype() != DType::boolean) throw_dtype("masked_select", "bool (the mask)", mask.dtype());
  check_same_device("masked_select", x, mask);
  const Shape shape = broadcast("masked_select", x.shape(), mask.shape());
  const Tensor at = true_positions("masked_select", flatten(expand(mask, shape)));
  return index_select(flatten(expand(x, shape)), 0, squeeze(at, 1));
}

Tensor bincount(const Tensor& index_any, i64 least) {
  no_grad guard;
  const auto [index, n] = counted(index_any, least);
  return index_add(zeros({n}, DType::i64, index.device()), 0, index, ones({index.size()}, DType::i64, index.device()));
}

Tensor bincount(const Tensor& index_any, const Tensor& weights, i64 least) {
  check_same_device("bincount", index_any, weights);
  if (weights.shape() != index_any.shape())
    throw ShapeError(fmt::format("bincount: weights must have the shape of index; got {} and {}",
                                 to_string(weights.shape()), to_string(index_any.shape())));
  if (weights.dtype() == DType::boolean) throw_dtype("bincount", "a number (the weights)", weights.dtype());
  const auto [index, n] = counted(index_any, least);
  return index_add(zeros({n}, weights.dtype(), weights.device()), 0, index, flatten(weights));
}

// ---- CPU kernel

void cpu::nonzero_positions(const bool* x, i64* y, const NonzeroPlan& p) {
  const Chunks chunks = reduction_chunks(p.elements, 1 << 14);
  i64 first[kMaxChunks + 1] = {};  // row of y where each chunk begins
  parallel_for(chunks.count, 1, [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; ++c) first[c + 1] = std::count(x + chunks.begin(c), x + chunks.end(c), true);
  });
  for (i64 c = 0; c < chunks.count; ++c) first[c + 1] += first[c];
  parallel_for(chunks.count, 1, [&](i64 begin, i64 end) {
    for (i64 c = begin; c < end; ++c) {
      i64* row = y + first[c] * p.rank;
      for (i64 i = chunks.begin(c); i < chunks.end(c); ++i) {
        if (!x[i]) continue;
        i64 rest = i;
        for (int a = p.rank - 1; a >= 0; --a) row[a] = rest % p.sizes[a], rest /= p.sizes[a];
        row += p.rank;
      }
    }
  });
}

}  // namespace moegrad
