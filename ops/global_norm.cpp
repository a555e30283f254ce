#include "ops/global_norm.h"

#include <fmt/format.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/cast.h"

namespace moegrad {

Tensor global_norm(std::span<const Tensor> xs, double p) {
  if (!(p > 0)) throw Error(fmt::format("global_norm: p must be above 0; got {}", p));
  for (const Tensor& x : xs) {
    if (!is_float(x.dtype())) throw_dtype("global_norm", kFloats, x.dtype());
    check_same_device("global_norm", xs.front(), x);
  }
  no_grad guard;
  Tensor total = zeros({}, DType::f64, xs.empty() ? Device::cpu : xs.front().device());
  for (const Tensor& x_any : xs) {
    const Tensor x = contiguous(x_any);
    with_float("global_norm", x.dtype(), [&]<class F>() {
      MOEGRAD_LAUNCH(x.device(), add_powers, x.data<F>(), x.size(), p, total.data<double>());
    });
  }
  MOEGRAD_LAUNCH(total.device(), take_root, total.data<double>(), p);
  return total;
}

// ---- CPU kernels

namespace {

constexpr i64 kGrain = 1 << 14;  // elements per thread
constexpr int kLanes = 16;       // independent results, so that the loop vectorises without reordering

// The terms of x joined by `join`, from 0.
template <class F, class Term, class Join> double fold(const F* x, i64 n, Term term, Join join) {
  return parallel_reduce(
      n, kGrain, 0.0,
      [&](i64 begin, i64 end) {
        double lane[kLanes] = {};
        i64 i = begin;
        for (; i + kLanes <= end; i += kLanes)
          for (int l = 0; l < kLanes; ++l) lane[l] = join(lane[l], term(convert<double>(x[i + l])));
        for (int l = 0; i < end; ++i, ++l) lane[l] = join(lane[l], term(convert<double>(x[i])));
        tree_combine(kLanes, [&](i64 a, i64 b) { lane[a] = join(lane[a], lane[b]); });
        return lane[0];
      },
      join);
}

double larger(double a, double b) { return a > b || a != a ? a : b; }  // NaN if one is NaN

}  // namespace

template <class F> void cpu::add_powers(const F* x, i64 n, double p, double* total) {
  const auto plus = [](double a, double b) { return a + b; };
  const auto size = [](double v) { return std::abs(v); };
  if (std::isinf(p))
    *total = larger(*total, fold(x, n, size, larger));
  else if (p == 2)
    *total += fold(
        x, n, [](double v) { return v * v; }, plus);
  else if (p == 1)
    *total += fold(x, n, size, plus);
  else
    *total += fold(
        x, n, [p](double v) { return std::pow(std::abs(v), p); }, plus);
}

void cpu::take_root(double* total, double p) {
  if (p == 2)
    *total = std::sqrt(*total);
  else if (p != 1 && !std::isinf(p))
    *total = std::pow(*total, 1 / p);
}

}  // namespace moegrad
