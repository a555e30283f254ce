#include "ops/slots.h"

#include <fmt/format.h>

#include <vector>

#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/indices.h"

namespace moegrad {
namespace {

Tensor checked(const char* op, const Tensor& chosen_any, int rank, i64 experts) {
  if (chosen_any.dtype() != DType::i64) throw_dtype(op, "i64 (chosen experts)", chosen_any.dtype());
  if (chosen_any.rank() != rank)
    throw ShapeError(
        fmt::format("{}: chosen must be [{}N, K]; got {}", op, rank == 3 ? "G, " : "", to_string(chosen_any.shape())));
  return detail::checked_index(op, chosen_any, {.low = -1, .high = experts, .what = "chosen"});
}

}  // namespace

Slots sorted_slots(const Tensor& chosen_any, i64 experts) {
  const Tensor chosen = checked("sorted_slots", chosen_any, 2, experts);
  const Shape shape{1, chosen.size()};
  Slots s{empty(shape, DType::i64, chosen.device()), empty(shape, DType::i64, chosen.device()),
          empty({experts + 1}, DType::i64, chosen.device())};
  MOEGRAD_LAUNCH(chosen.device(), sort_slots, chosen.data<i64>(), chosen.size(), chosen.dim(1), experts,
                 s.row.data<i64>(), s.token.data<i64>(), s.begin.data<i64>());
  return s;
}

Slots capacity_slots(const Tensor& chosen_any, i64 experts, i64 capacity) {
  if (capacity < 0) throw ShapeError(fmt::format("capacity_slots: capacity must be >= 0; got {}", capacity));
  if (experts < 0 || (capacity > 0 && experts > (i64{1} << 40) / capacity))
    throw ShapeError(
        fmt::format("capacity_slots: experts times capacity must be in [0, 2^40]; got {} and {}", experts, capacity));
  const Tensor chosen = checked("capacity_slots", chosen_any, 3, experts);
  const Shape shape{chosen.dim(0), experts * capacity};
  Slots s{full(shape, -1, DType::i64, chosen.device()), full(shape, -1, DType::i64, chosen.device()), {}};
  MOEGRAD_LAUNCH(chosen.device(), fill_capacity, chosen.data<i64>(), chosen.dim(0), chosen.dim(1), chosen.dim(2),
                 experts, capacity, s.row.data<i64>(), s.token.data<i64>());
  return s;
}

// A stable counting sort.
void cpu::sort_slots(const i64* chosen, i64 rows, i64 choices, i64 experts, i64* row, i64* token, i64* begin) {
  std::fill_n(begin, experts + 1, 0);
  for (i64 r = 0; r < rows; ++r)
    if (chosen[r] >= 0) ++begin[chosen[r] + 1];
  for (i64 e = 0; e < experts; ++e) begin[e + 1] += begin[e];
  std::vector<i64> next(begin, begin + experts);
  for (i64 r = 0; r < rows; ++r) {
    if (chosen[r] < 0) continue;
    const i64 slot = next[static_cast<std::size_t>(chosen[r])]++;
    row[slot] = r;
    token[slot] = r / choices;
  }
  std::fill(row + begin[experts], row + rows, -1);
  std::fill(token + begin[experts], token + rows, -1);
}

void cpu::fill_capacity(const i64* chosen, i64 groups, i64 tokens, i64 choices, i64 experts, i64 capacity, i64* row,
                        i64* token) {
  parallel_for(groups, (i64{1} << 14) / std::max<i64>(tokens * choices, 1) + 1, [&](i64 first, i64 last) {
    for (i64 g = first; g < last; ++g) {
      std::vector<i64> used(static_cast<std::size_t>(experts), 0);
      for (i64 k = 0; k < choices; ++k)
        for (i64 n = 0; n < tokens; ++n) {
          const i64 e = chosen[(g * tokens + n) * choices + k];
          if (e < 0 || used[static_cast<std::size_t>(e)] == capacity) continue;
          const i64 slot = (g * experts + e) * capacity + used[static_cast<std::size_t>(e)]++;
          row[slot] = n * choices + k;
          token[slot] = n;
        }
    }
  });
}

}  // namespace moegrad
