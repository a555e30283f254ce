// Counting sort on the device: what the inverse of routes, slots and permutations are made of.
#pragma once
#include "cuda/launch.h"

namespace moegrad::cuda {

/// Elements in the order of their keys, equal keys in the order of elements: order[p] is the element in place p and
/// sorted[p] its key. Keys are in [0, most]; no argument may be another.
void sort_by_key(const i64* keys, i64 n, i64 most, i64* sorted, i64* order);

/// begin[d] = the first place p with sorted[p] >= d, for d in [0, count); n if there is none.
void first_places(const i64* sorted, i64 n, i64* begin, i64 count);

/// Turns each of `rows` rows of `n` counts into the sums of those before, and writes the sum of the row into totals.
void sum_before(i64* counts, i64 rows, i64 n, i64* totals);

}  // namespace moegrad::cuda
