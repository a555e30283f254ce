// Slots by a counting sort of the rows (cuda/counting.cuh): a row's key is its expert (and group), rows without one
// come last. Then one thread for each place of the sorted rows writes what belongs into the slot. Index tables only:
// about 100 bytes for each row and pass of the sort.
#include "ops/slots.h"

#include "cuda/counting.cuh"

namespace moegrad::cuda {
namespace {

__global__ void __launch_bounds__(kBlock) expert_key_kernel(const i64* chosen, i64* keys, i64 rows, i64 experts) {
  for (i64 r = first_index(); r < rows; r += grid_stride()) keys[r] = chosen[r] < 0 ? experts : chosen[r];
}

__global__ void __launch_bounds__(kBlock)
    sorted_slot_kernel(const i64* order, const i64* taken, i64 rows, i64 choices, i64* row, i64* token) {
  for (i64 slot = first_index(); slot < rows; slot += grid_stride()) {
    const i64 r = slot < *taken ? order[slot] : -1;
    row[slot] = r;
    token[slot] = r < 0 ? -1 : r / choices;
  }
}

// Choices in the order in which they take slots: element i is choice k of token n of group g, tokens fastest.
struct Choices {
  i64 groups, tokens, choices, experts;
  __host__ __device__ i64 count() const { return groups * tokens * choices; }
  __device__ i64 row(i64 i) const { return i % tokens * choices + i / tokens % choices; }
  __device__ i64 group(i64 i) const { return i / (tokens * choices); }
};

__global__ void __launch_bounds__(kBlock) group_key_kernel(const i64* chosen, i64* keys, Choices c) {
  for (i64 i = first_index(); i < c.count(); i += grid_stride()) {
    const i64 e = chosen[c.group(i) * c.tokens * c.choices + c.row(i)];
    keys[i] = e < 0 ? c.groups * c.experts : c.group(i) * c.experts + e;
  }
}

__global__ void __launch_bounds__(kBlock) capacity_slot_kernel(const i64* sorted, const i64* order, const i64* begin,
                                                               Choices c, i64 capacity, i64* row, i64* token) {
  for (i64 place = first_index(); place < c.count(); place += grid_stride()) {
    const i64 key = sorted[place];
    if (key == c.groups * c.experts) continue;
    const i64 at = place - begin[key];
    if (at >= capacity) continue;
    const i64 r = c.row(order[place]);
    row[key * capacity + at] = r;
    token[key * capacity + at] = r / c.choices;
  }
}

}  // namespace

void sort_slots(const i64* chosen, i64 rows, i64 choices, i64 experts, i64* row, i64* token, i64* begin) {
  const Grid g = grid_for(rows);
  const Scratch<i64> keys(rows), sorted(rows), order(rows);
  launch("sort_slots", g.blocks, g.threads, 0, expert_key_kernel, chosen, keys.data(), rows, experts);
  sort_by_key(keys.data(), rows, experts, sorted.data(), order.data());
  first_places(sorted.data(), rows, begin, experts + 1);
  launch("sort_slots", g.blocks, g.threads, 0, sorted_slot_kernel, order.data(), begin + experts, rows, choices, row,
         token);
}

void fill_capacity(const i64* chosen, i64 groups, i64 tokens, i64 choices, i64 experts, i64 capacity, i64* row,
                   i64* token) {
  const Choices c{groups, tokens, choices, experts};
  const i64 n = c.count();
  const Grid g = grid_for(n);
  const Scratch<i64> keys(n), sorted(n), order(n), begin(groups * experts);
  launch("fill_capacity", g.blocks, g.threads, 0, group_key_kernel, chosen, keys.data(), c);
  sort_by_key(keys.data(), n, groups * experts, sorted.data(), order.data());
  first_places(sorted.data(), n, begin.data(), groups * experts);
  launch("fill_capacity", g.blocks, g.threads, 0, capacity_slot_kernel, sorted.data(), order.data(), begin.data(), c,
         capacity, row, token);
}

}  // namespace moegrad::cuda
