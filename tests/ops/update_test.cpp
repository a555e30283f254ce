#include "ops/update.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct State {
  Tensor w, dw, m, v;
};
State state_of(const Shape& shape, DType dtype, u64 seed) {
  return {random_tensor(shape, seed, -1, 1, dtype), random_tensor(shape, seed + 1, -1, 1, dtype),
          random_tensor(shape, seed + 2, -1, 1, dtype), random_tensor(shape, seed + 3, 0, 1, dtype)};
}
AdamWUpdate settings(i64 step, bool clipped) {
  return {.beta1 = 0.8,
          .beta2 = 0.95,
          .eps = 1e-6,
          .weight_decay = 0.1,
          .lr_scale = 0.5,
          .lr = scalar(0.02, DType::f64),
          .step = scalar(static_cast<double>(step), DType::i64),
          .scale = clipped ? scalar(0.25, DType::f64) : Tensor{}};
}

}  // namespace

TEST_CASE("adamw_update: equals the algorithm written out, f32 and f64, with and without clipping") {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{5}, Shape{7, 9, 3}, Shape{40000}})
    for (const bool clipped : {false, true})
      for (const DType dtype : {DType::f32, DType::f64}) {
        const State s = state_of(shape, dtype, 11);
        const auto w = s.w.to_vector<double>(), g = s.dw.to_vector<double>(), m = s.m.to_vector<double>(),
                   v = s.v.to_vector<double>();
        const AdamWUpdate u = settings(3, clipped);
        adamw_update(s.w, s.dw, s.m, s.v, u);
        const double tolerance = dtype == DType::f64 ? 1e-14 : 1e-6;
        const auto new_w = s.w.to_vector<double>(), new_m = s.m.to_vector<double>(), new_v = s.v.to_vector<double>();
        double worst = 0;
        for (std::size_t i = 0; i < w.size(); ++i) {
          const double gi = g[i] * (clipped ? 0.25 : 1), lr = 0.02 * 0.5;
          const double mi = 0.8 * m[i] + 0.2 * gi, vi = 0.95 * v[i] + 0.05 * gi * gi;
          const double m_hat = mi / (1 - 0.8 * 0.8 * 0.8), v_hat = vi / (1 - 0.95 * 0.95 * 0.95);
          const double wi = w[i] - lr * 0.1 * w[i] - lr * m_hat / (std::sqrt(v_hat) + 1e-6);
          worst = std::max({worst, std::abs(new_w[i] - wi), std::abs(new_m[i] - mi), std::abs(new_v[i] - vi)});
        }
        CAPTURE(to_string(shape));
        CHECK(worst <= tolerance);
      }
}

TEST_CASE("adamw_update: the same bits for any number of threads; a strided gradient; the gradient stays as it is") {
  std::vector<double> seen[2];
  const int before = num_threads();
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    const State s = state_of({301, 311}, DType::f32, 5);
    const Tensor dw = strided_copy(s.dw);
    const auto gradient = dw.to_vector<double>();
    adamw_update(s.w, dw, s.m, s.v, settings(1, true));
    CHECK(dw.to_vector<double>() == gradient);
    seen[threads - 1] = s.w.to_vector<double>();
  }
  set_num_threads(before);
  CHECK(seen[0] == seen[1]);
}

TEST_CASE("adamw_update: a value saved for backward that was updated is an error") {
  const State s = state_of({3}, DType::f64, 1);
  Tensor x = ones({3}, DType::f64);
  x.requires_grad_();
  const Tensor y = mul(x, s.w);
  adamw_update(s.w, s.dw, s.m, s.v, settings(1, false));
  CHECK_THROWS_AS(grad(y, {x}, ones({3}, DType::f64)), GradError);
}

TEST_CASE("global_norm: of several tensors, strided ones too; any number of threads") {
  const Tensor a = random_tensor({70, 1001}, 1), b = strided_copy(random_tensor({3, 4}, 2)),
               c = random_tensor({5}, 3, -1, 1, DType::f32);
  double expected = 0;
  for (const Tensor& x : {a, b, c})
    for (const double v : x.to_vector<double>()) expected += v * v;
  const Tensor xs[] = {a, b, c};
  CHECK(global_norm(xs).item() == doctest::Approx(std::sqrt(expected)).epsilon(1e-13));
  const int before = num_threads();
  set_num_threads(1);
  const double one = global_norm(xs).item();
  set_num_threads(2);
  CHECK(global_norm(xs).item() == one);
  set_num_threads(before);
  CHECK(global_norm({}).item() == 0);
}

TEST_CASE("update: errors") {
  const State s = state_of({2, 3}, DType::f32, 1);
  CHECK_THROWS_WITH_AS(adamw_update(s.w, zeros({3, 2}), s.m, s.v, settings(1, false)),
                       "adamw_update: shapes must match; got w [2, 3] and [3, 2]", ShapeError);
  CHECK_THROWS_AS(adamw_update(s.w, zeros({2, 3}, DType::f64), s.m, s.v, settings(1, false)), DTypeError);
  CHECK_THROWS_AS(adamw_update(expand(zeros({1}), {2, 3}), s.dw, s.m, s.v, settings(1, false)), Error);
  const Tensor count = zeros({}, DType::i64);
  count_up(count);
  count_up(count);
  CHECK(count.item() == 2);
  CHECK_THROWS_AS(count_up(zeros({2}, DType::i64)), ShapeError);
  const Tensor ints[] = {zeros({2}, DType::i64)};
  CHECK_THROWS_AS(global_norm(ints), DTypeError);
}

TEST_CASE("adamw_update, count_up, global_norm: strided gradients, no elements, f32 and f64") {
  for (DType t : {DType::f32, DType::f64})
    for (const Shape& shape : {Shape{3, 4}, Shape{0, 2}}) {
      const State s = state_of(shape, t, 3);
      check_op({.name = "adamw_update",
                .op =
                    [&](Args x) {
                      const State own{x[0] * 1.0, x[1], s.m * 1.0, s.v * 1.0};  // written to: copies
                      adamw_update(own.w, own.dw, own.m, own.v, settings(2, true));
                      return own.w;
                    },
                .inputs = {Input::fixed(s.w), Input::fixed(s.dw)},
                .order = 0,
                .f32 = false});
      check_op({.name = "global_norm",
                .op = [](Args x) { return global_norm(x); },
                .reference =
                    [](Args x) {
                      double total = 0;
                      for (const Tensor& a : x)
                        for (double v : a.to_vector<double>()) total += v * v;
                      return scalar(std::sqrt(total), DType::f64);
                    },
                .inputs = {Input::fixed(s.w), Input::fixed(s.dw)},
                .order = 0,
                .f32 = false});
    }
  check_op({.name = "count_up",
            .op =
                [](Args x) {
                  const Tensor y = x[0] + 0.0;
                  count_up(y);
                  return y;
                },
            .reference = naive_map([](const std::vector<double>& v) { return v[0] + 1; }),
            .inputs = {Input::fixed(scalar(41, DType::i64))},
            .order = 0});
  CHECK_THROWS_WITH_AS(count_up(zeros({2}, DType::i64)), "count_up: x must be a scalar; got x [2]", ShapeError);
  const Tensor ints[] = {zeros({2}, DType::i64)};
  CHECK_THROWS_WITH_AS(global_norm(ints), "global_norm: x must be f32 or f64; got i64", DTypeError);
}
