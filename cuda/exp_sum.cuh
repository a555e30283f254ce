// Sums of exponentials that need no largest value beforehand: a row is read once.
//
// Online normalizer calculation for softmax (2018), arXiv:1805.02867, Algorithm 3.
#pragma once
#include "core/math.h"
#include "cuda/launch.h"

namespace moegrad::cuda {

template <class F> inline constexpr F kLowest = -math::Format<F>::kInfinity;

/// -inf - -inf = NaN would hide a result, so exponentials are shifted by 0 where the largest is infinite.
template <class F> __device__ inline F finite_or_zero(F top) { return top - top == 0 ? top : F(0); }

/// The larger number, where NaN does not count: it shows up in the sum of exponentials.
struct LargerNumber {
  template <class F> __device__ F operator()(F a, F b) const { return b > a ? b : a; }
};

/// `top` is the largest of some numbers, -inf of none, and `sum` that of e^(x - finite_or_zero(top)).
template <class F> struct ExpSum {
  F top, sum;
  static __device__ ExpSum none() { return {kLowest<F>, 0}; }
  __device__ F shift() const { return finite_or_zero(top); }
  __device__ F log_sum() const { return shift() + math::log(sum); }

  /// Counts numbers whose largest is given.
  template <int V> __device__ void add(const F (&x)[V], F largest) {
    if (largest > top) raise(largest);
    const F by = shift();
#pragma unroll
    for (int v = 0; v < V; ++v) sum += math::exp(x[v] - by);
  }
  __device__ void add(F x) {
    if (x > top) raise(x);
    sum += math::exp(x - shift());
  }
  __device__ void raise(F higher) {
    const F before = shift();
    top = higher;
    if (sum != 0) sum *= math::exp(before - shift());  // of nothing, e^(0 - shift) may be infinite
  }
};
struct JoinExpSums {
  template <class F> __device__ ExpSum<F> operator()(ExpSum<F> a, ExpSum<F> b) const {
    const F top = LargerNumber{}(a.top, b.top);
    a.raise(top);
    b.raise(top);
    return {top, a.sum + b.sum};
  }
};

}  // namespace moegrad::cuda
