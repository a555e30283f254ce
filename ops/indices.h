// Values that an op may only use when they are in a range: indices.
#pragma once
#include "core/tensor.h"

namespace moegrad::detail {

/// Which values are good, and what `<what>` is called in an error.
struct IndexRange {
  i64 low, high;
  bool wraps = false;  ///< negative values count from the end: they become v + high
  const char* what = "index";
};
/// index (i64 or i32) as i64 in row-major order, with values in [low, high).
///   Errors  IndexError `<op>: values must be in [low, high); got ..`. From a CPU at the call, with the value's place;
///           from a GPU at the next call that waits. What is wrong there counts as empty, -1
Tensor checked_index(const char* op, const Tensor& index, const IndexRange& range);

/// To be called by an op whose result has a shape that depends on values: Error in a capture of a GPU graph.
void reads_values(const char* op, Device device);

}  // namespace moegrad::detail

namespace moegrad {

// Kernel: y = index where it is in range (wrapped, if asked for), else -1. `fault`: the number of the error's text.
namespace cuda {
void check_index(const i64* index, i64* y, i64 n, const detail::IndexRange& range, int fault);
}

}  // namespace moegrad
