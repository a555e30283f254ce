// Borders of groups that only the device knows: in a capture, because the graph is replayed with others.
#pragma once
#include "ops/grouped_matmul.h"

namespace moegrad::cuda {

/// borders [groups + 1] = begin if it ascends from 0 to at most `rows`; otherwise all groups are empty, and the fault is
/// reported.
void trusted_borders(const char* op, const i64* begin, i64* borders, const GroupedSizes& sizes);

}  // namespace moegrad::cuda
