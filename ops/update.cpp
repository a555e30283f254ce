#include "ops/update.h"

#include <fmt/format.h>

#include <cmath>

#include "core/autograd.h"
#include "core/math.h"
#include "core/parallel.h"
#include "ops/cast.h"

namespace moegrad {

Tensor global_norm(std::span<const Tensor> xs) {
  for (const Tensor& x : xs) {
    if (!is_float(x.dtype())) throw_dtype("global_norm", "f32 or f64", x.dtype());
    check_same_device("global_norm", xs.front(), x);
  }
  no_grad guard;
  Tensor total = zeros({}, DType::f64, xs.empty() ? Device::cpu : xs.front().device());
  for (const Tensor& x_any : xs) {
    const Tensor x = contiguous(x_any);
    with_float("global_norm", x.dtype(), [&]<class F>() {
      MOEGRAD_LAUNCH(x.device(), add_squares, x.data<F>(), x.size(), total.data<double>());
    });
  }
  MOEGRAD_LAUNCH(total.device(), take_root, total.data<double>());
  return total;
}

namespace {

void check_update(const Tensor& w, const Tensor& dw, const Tensor& m, const Tensor& v, const AdamWUpdate& update) {
  for (const Tensor* x : {&dw, &m, &v}) {
    check_same_device("adamw_update", w, *x);
    check_same_dtype("adamw_update", w, *x);
    if (x->shape() != w.shape())
      throw ShapeError(
          fmt::format("adamw_update: shapes must match; got w {} and {}", to_string(w.shape()), to_string(x->shape())));
  }
  if (!is_float(w.dtype())) throw_dtype("adamw_update", "f32 or f64", w.dtype());
  if (!w.is_contiguous() || !m.is_contiguous() || !v.is_contiguous())
    throw Error(fmt::format("adamw_update: w, m and v must be contiguous; got w {}", describe(w)));
  for (const Tensor* x : {&update.lr, &update.step, &update.scale})
    if (*x && (x->rank() != 0 || x->device() != w.device()))
      throw ShapeError(fmt::format("adamw_update: lr, step and scale must be scalars on the device of w; got {} on {}",
                                   describe(*x), name(x->device())));
}

}  // namespace

void adamw_update(const Tensor& w, const Tensor& dw_any, const Tensor& m, const Tensor& v, const AdamWUpdate& update) {
  check_update(w, dw_any, m, v, update);
  no_grad guard;
  const Tensor dw = contiguous(dw_any);
  const AdamWPlan plan{.beta1 = update.beta1,
                       .beta2 = update.beta2,
                       .eps = update.eps,
                       .weight_decay = update.weight_decay,
                       .lr_scale = update.lr_scale,
                       .lr = update.lr.data<double>(),
                       .step = update.step.data<i64>(),
                       .scale = update.scale ? update.scale.data<double>() : nullptr};
  with_float("adamw_update", w.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(w.device(), adamw_update, writable<F>(w), dw.data<F>(), writable<F>(m), writable<F>(v), w.size(),
                   plan);
  });
}

void count_up(const Tensor& x) {
  if (x.rank() != 0) throw ShapeError(fmt::format("count_up: x must be a scalar; got x {}", to_string(x.shape())));
  MOEGRAD_LAUNCH(x.device(), count_up, writable<i64>(x));
}

// ---- CPU kernels

namespace {
constexpr i64 kGrain = 1 << 14;  // elements per thread
constexpr int kLanes = 16;       // independent sums, so that the loop vectorises without reordering

template <class F> double sum_squares(const F* x, i64 n) {
  double lane[kLanes] = {};
  i64 i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lane[l] += static_cast<double>(x[i + l]) * static_cast<double>(x[i + l]);
  for (int l = 0; i < n; ++i, ++l) lane[l] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  tree_combine(kLanes, [&](i64 a, i64 b) { lane[a] += lane[b]; });
  return lane[0];
}
}  // namespace

template <class F> void cpu::add_squares(const F* x, i64 n, double* total) {
  *total += parallel_reduce(
      n, kGrain, 0.0, [&](i64 begin, i64 end) { return sum_squares(x + begin, end - begin); },
      [](double a, double b) { return a + b; });
}

void cpu::take_root(double* x) { *x = std::sqrt(*x); }

template <class F> void cpu::adamw_update(F* w, const F* dw, F* m, F* v, i64 n, const AdamWPlan& plan) {
  const double step = static_cast<double>(*plan.step), lr = *plan.lr * plan.lr_scale;
  const F scale = plan.scale ? static_cast<F>(*plan.scale) : F(1);
  const F keep = static_cast<F>(1 - lr * plan.weight_decay);
  const F b1 = static_cast<F>(plan.beta1), b2 = static_cast<F>(plan.beta2), eps = static_cast<F>(plan.eps);
  const F c1 = static_cast<F>(1 - plan.beta1), c2 = static_cast<F>(1 - plan.beta2);
  // m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps), with the divisions taken out of the loop
  const F rate = static_cast<F>(lr / (1 - std::pow(plan.beta1, step)));
  const F unbias = static_cast<F>(1 / std::sqrt(1 - std::pow(plan.beta2, step)));
  parallel_for(n, kGrain, [=](i64 begin, i64 end) {
    F* __restrict pw = w;
    F* __restrict pm = m;
    F* __restrict pv = v;
    const F* __restrict pg = dw;
#pragma omp simd
    for (i64 i = begin; i < end; ++i) {
      const F g = scale * pg[i];
      const F first = math::mul_add(b1, pm[i], c1 * g), second = math::mul_add(b2, pv[i], c2 * g * g);
      pm[i] = first;
      pv[i] = second;
      pw[i] = math::mul_add(keep, pw[i], -rate * first / math::mul_add(math::sqrt(second), unbias, eps));
    }
  });
}

void cpu::count_up(i64* x) { ++*x; }

}  // namespace moegrad
