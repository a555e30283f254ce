// A loop nest over operands with strides: how every elementwise kernel walks broadcast, sliced or transposed tensors.
// Axes that lie one behind the other in all operands are merged, so that contiguous data is a single loop.
#pragma once
#include "core/fwd.h"

namespace moegrad {

/// Sizes outermost first, strides in elements; the last axis is the inner loop. Plain data: kernels take it by value.
template <int N> struct Nest {
  static constexpr int kMost = 12;  // kMaxRank
  int rank = 1;                     // >= 1
  i64 sizes[kMost] = {1};
  i64 strides[N][kMost] = {};

  i64 inner() const { return sizes[rank - 1]; }
  i64 elements() const {
    i64 n = 1;
    for (int i = 0; i < rank; ++i) n *= sizes[i];
    return n;
  }
  /// True when the inner loop is all there is and operand `k` is read one element after another.
  bool dense(int k) const { return rank == 1 && strides[k][0] == 1; }
};

/// Merges axes in place: drops those of size 1, joins neighbours that all operands walk through without a jump.
template <int N> void merge_axes(Nest<N>& nest) {
  int last = -1;
  for (int i = 0; i < nest.rank; ++i) {
    if (nest.sizes[i] == 1 && nest.rank > 1) continue;
    bool joins = last >= 0;
    for (int k = 0; joins && k < N; ++k) joins = nest.strides[k][last] == nest.strides[k][i] * nest.sizes[i];
    if (joins) {
      nest.sizes[last] *= nest.sizes[i];
    } else {
      nest.sizes[++last] = nest.sizes[i];
    }
    for (int k = 0; k < N; ++k) nest.strides[k][last] = nest.strides[k][i];
  }
  if (last < 0) {  // every axis had size 1
    nest.sizes[0] = 1;
    for (int k = 0; k < N; ++k) nest.strides[k][0] = 1;
    last = 0;
  }
  nest.rank = last + 1;
}

/// Visits elements [begin, end) of the nest in logical order as runs along the inner axis: f(offset[N], count).
template <int N, class Fn> void walk(const Nest<N>& nest, i64 begin, i64 end, Fn&& f) {
  if (begin >= end) return;
  const int last = nest.rank - 1;
  i64 at[Nest<N>::kMost], offset[N] = {};
  i64 rest = begin;
  for (int i = last; i >= 0; --i) {
    at[i] = rest % nest.sizes[i];
    rest /= nest.sizes[i];
    for (int k = 0; k < N; ++k) offset[k] += at[i] * nest.strides[k][i];
  }
  for (i64 left = end - begin; left > 0;) {
    const i64 room = nest.sizes[last] - at[last];
    const i64 count = room < left ? room : left;
    f(offset, count);
    left -= count;
    for (int k = 0; k < N; ++k) offset[k] -= at[last] * nest.strides[k][last];
    at[last] = 0;
    for (int i = last - 1; i >= 0; --i) {
      for (int k = 0; k < N; ++k) offset[k] += nest.strides[k][i];
      if (++at[i] < nest.sizes[i]) break;
      for (int k = 0; k < N; ++k) offset[k] -= nest.sizes[i] * nest.strides[k][i];
      at[i] = 0;
    }
  }
}

}  // namespace moegrad
