#include "ops/update.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr double kLr = 0.02, kScale = 0.25;
constexpr int kStep = 3;
// Values of the states.
struct Ranges {
  double low[3] = {0.5, 0, 0.5}, high[3] = {1, 0.5, 1};
};

UpdateStep third_step(bool clipped) {
  return {.lr = scalar(kLr, DType::f64),
          .step = scalar(kStep, DType::i64),
          .scale = clipped ? scalar(kScale, DType::f64) : Tensor{},
          .lr_scale = 0.5};
}

// One element of a rule in plain doubles; s are its states.
using Reference = std::function<void(double& w, double g, double (&s)[3])>;
using Update =
    std::function<void(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const UpdateStep& at)>;

// `uses`: which of the states there are.
void check_values(const Update& update, const Reference& reference, unsigned uses, const Ranges& ranges) {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{5}, Shape{7, 9, 3}, Shape{40000}})
    for (const bool clipped : {false, true})
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
        const Tensor w = random_tensor(shape, 11, -1, 1, dtype), dw = random_tensor(shape, 12, -1, 1, dtype);
        std::vector<Tensor> states(3), all{w};
        for (unsigned i = 0; i < 3; ++i)
          if (uses >> i & 1)
            all.push_back(states[i] = random_tensor(shape, 13 + i, ranges.low[i], ranges.high[i], state_dtype(dtype)));
        std::vector<std::vector<double>> want;
        for (const Tensor& x : all) want.push_back(x.to_vector<double>());
        const auto g = dw.to_vector<double>();
        for (std::size_t i = 0; i < g.size(); ++i) {
          double s[3] = {};
          std::size_t next = 1;
          for (unsigned k = 0; k < 3; ++k)
            if (uses >> k & 1) s[k] = want[next++][i];
          reference(want[0][i], g[i] * (clipped ? kScale : 1), s);
          next = 1;
          for (unsigned k = 0; k < 3; ++k)
            if (uses >> k & 1) want[next++][i] = s[k];
        }
        update(w, dw, states, third_step(clipped));
        CAPTURE(to_string(shape));
        for (std::size_t x = 0; x < all.size(); ++x) {
          double worst = 0;
          const auto got = all[x].to_vector<double>();
          for (std::size_t i = 0; i < got.size(); ++i)
            if (const double e = std::abs(got[i] - want[x][i]); !(e <= worst)) worst = e;  // also if it is NaN
          const DType stored = all[x].dtype();  // bf16: one rounding of |w| < 2
          CHECK(worst <= (stored == DType::f64 ? 1e-14 : stored == DType::f32 ? 2e-6 : 0x1p-8));
        }
      }
}

constexpr double kRate = kLr * 0.5;

// The same without numbers, for the table of coverage: strided gradients, no elements.
void check_strided(const char* name, const Update& update, unsigned uses) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
    for (const Shape& shape : {Shape{3, 4}, Shape{0, 2}})
      check_op({.name = name,
                .op =
                    [&](Args x) {
                      const Tensor w = x[0] * 1.0;  // written to: a copy
                      std::vector<Tensor> states(3);
                      for (unsigned i = 0; i < 3; ++i)
                        if (uses >> i & 1) states[i] = full(shape, 0.5, state_dtype(dtype));
                      update(w, x[1], states, third_step(true));
                      return w;
                    },
                .inputs = {Input::fixed(random_tensor(shape, 1, -1, 1, dtype)),
                           Input::fixed(random_tensor(shape, 2, -1, 1, dtype))},
                .order = 0,
                .f32 = false});
}

void check_update(const char* name, const Update& update, const Reference& reference, unsigned uses,
                  const Ranges& ranges = {}) {
  check_values(update, reference, uses, ranges);
  check_strided(name, update, uses);
}

}  // namespace

TEST_CASE("sgd_update: equals the rule written out, f32 and f64, with and without clipping") {
  check_update(
      "sgd_update",
      [](const Tensor& w, const Tensor& dw, std::span<const Tensor> s, const UpdateStep& at) {
        sgd_update(w, dw, s, {.weight_decay = 0.1}, at);
      },
      [](double& w, double g, double(&)[3]) { w -= kRate * (g + 0.1 * w); }, 0);
  for (const bool nesterov : {false, true})
    check_update(
        "sgd_update",
        [&](const Tensor& w, const Tensor& dw, std::span<const Tensor> s, const UpdateStep& at) {
          sgd_update(w, dw, s, {.momentum = 0.8, .dampening = 0.3, .weight_decay = 0.1, .nesterov = nesterov}, at);
        },
        [&](double& w, double g, double(&s)[3]) {
          g += 0.1 * w;
          s[0] = 0.8 * s[0] + 0.7 * g;
          w -= kRate * (nesterov ? g + 0.8 * s[0] : s[0]);
        },
        1);
}

TEST_CASE("adam_update: equals the rule written out, with either decay and with amsgrad") {
  for (const bool decoupled : {false, true})
    for (const bool amsgrad : {false, true})
      check_update(
          "adam_update",
          [&](const Tensor& w, const Tensor& dw, std::span<const Tensor> s, const UpdateStep& at) {
            adam_update(w, dw, s,
                        {.beta1 = 0.8,
                         .beta2 = 0.95,
                         .eps = 1e-6,
                         .weight_decay = 0.1,
                         .decoupled = decoupled,
                         .amsgrad = amsgrad},
                        at);
          },
          [&](double& w, double g, double(&s)[3]) {
            if (decoupled)
              w -= kRate * 0.1 * w;
            else
              g += 0.1 * w;
            s[0] = 0.8 * s[0] + 0.2 * g, s[1] = 0.95 * s[1] + 0.05 * g * g, s[2] = std::max(s[2], s[1]);
            const double v = (amsgrad ? s[2] : s[1]) / (1 - std::pow(0.95, kStep));
            w -= kRate * s[0] / (1 - std::pow(0.8, kStep)) / (std::sqrt(v) + 1e-6);
          },
          amsgrad ? 7 : 3);
}

// Rounding can leave s below a^2; then it counts as a^2. The second range has all of them there.
TEST_CASE("rmsprop_update: equals the rule written out, centred and with momentum") {
  for (const Ranges& ranges : {Ranges{}, Ranges{{0.5, 4, 0.5}, {1, 5, 1}}})
    for (const bool centered : {false, true})
      for (const double momentum : {0.0, 0.7})
        check_update(
            "rmsprop_update",
            [&](const Tensor& w, const Tensor& dw, std::span<const Tensor> s, const UpdateStep& at) {
              rmsprop_update(
                  w, dw, s,
                  {.alpha = 0.5, .eps = 0.25, .momentum = momentum, .weight_decay = 0.1, .centered = centered}, at);
            },
            [&](double& w, double g, double(&s)[3]) {
              g += 0.1 * w;
              s[0] = 0.5 * s[0] + 0.5 * g * g, s[1] = 0.5 * s[1] + 0.5 * g;
              const double spread = centered ? std::max(0.0, s[0] - s[1] * s[1]) : s[0];
              const double u = g / (std::sqrt(spread) + 0.25);
              s[2] = momentum * s[2] + u;
              w -= kRate * (momentum != 0 ? s[2] : u);
            },
            1u | (centered ? 2u : 0u) | (momentum != 0 ? 4u : 0u), ranges);
}

TEST_CASE("rmsprop_update: a gradient that stays the same has no spread, and no root of a negative number") {
  const Tensor w = zeros({64}), dw = random_tensor({64}, 3, -1, 1, DType::f32);
  const Tensor states[] = {zeros({64}), zeros({64}), Tensor{}};
  for (int t = 1; t <= 60; ++t)
    rmsprop_update(w, dw, states, {.alpha = 0.5, .centered = true},
                   {.lr = scalar(1e-6, DType::f64), .step = scalar(t, DType::i64), .scale = {}});
  for (const double x : w.to_vector<double>()) CHECK(std::isfinite(x));
}

TEST_CASE("update: a gradient that is no number shows in the weight, whatever the rule") {
  const UpdateStep at = third_step(false);
  const Tensor nan = scalar(std::nan(""));
  const auto after = [&](auto&& update, unsigned uses) {
    const Tensor w = ones({});
    std::vector<Tensor> states(3);
    for (unsigned i = 0; i < 3; ++i)
      if (uses >> i & 1) states[i] = ones({});
    update(w, states);
    return w.item();
  };
  CHECK(std::isnan(after([&](const Tensor& w, auto& s) { sgd_update(w, nan, s, {.momentum = 0.5}, at); }, 1)));
  CHECK(std::isnan(after([&](const Tensor& w, auto& s) { adam_update(w, nan, s, {.amsgrad = true}, at); }, 7)));
  CHECK(std::isnan(after([&](const Tensor& w, auto& s) { rmsprop_update(w, nan, s, {.centered = true}, at); }, 3)));
  CHECK(std::isnan(after([&](const Tensor& w, auto& s) { adagrad_update(w, nan, s, {}, at); }, 1)));
  CHECK(std::isnan(after([&](const Tensor& w, auto& s) { lion_update(w, nan, s, {}, at); }, 1)));
}

TEST_CASE("adagrad_update, lion_update: equal the rules written out") {
  check_update(
      "adagrad_update",
      [](const Tensor& w, const Tensor& dw, std::span<const Tensor> s, const UpdateStep& at) {
        adagrad_update(w, dw, s, {.eps = 1e-6, .lr_decay = 0.5, .weight_decay = 0.1}, at);
      },
      [](double& w, double g, double(&s)[3]) {
        g += 0.1 * w;
        s[0] += g * g;
        w -= kRate / (1 + (kStep - 1) * 0.5) * g / (std::sqrt(s[0]) + 1e-6);
      },
      1);
  check_update(
      "lion_update",
      [](const Tensor& w, const Tensor& dw, std::span<const Tensor> s, const UpdateStep& at) {
        lion_update(w, dw, s, {.beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0.1}, at);
      },
      [](double& w, double g, double(&s)[3]) {
        const double u = 0.5 * s[0] + 0.5 * g;
        w -= kRate * ((u > 0 ? 1 : u < 0 ? -1 : 0) + 0.1 * w);
        s[0] = 0.75 * s[0] + 0.25 * g;
      },
      1);
}

TEST_CASE("sgd_update: the first step fills the momentum with the gradient; sign of nothing is 0 in lion_update") {
  const Tensor w = zeros({2}, DType::f64), dw = tensor({1, -2}, DType::f64), v = full({2}, 7, DType::f64);
  UpdateStep first = third_step(false);
  first.step = scalar(1, DType::i64);
  const Tensor states[] = {v};
  sgd_update(w, dw, states, {.momentum = 0.5, .dampening = 0.5}, first);
  CHECK(v.to_vector<double>() == std::vector<double>{1, -2});
  const Tensor none[] = {zeros({2}, DType::f64)};
  const Tensor x = ones({2}, DType::f64);
  lion_update(x, zeros({2}, DType::f64), none, {}, first);
  CHECK(x.to_vector<double>() == std::vector<double>{1, 1});
}

TEST_CASE("adam_update: the same bits for any number of threads; a strided gradient; the gradient stays as it is") {
  std::vector<double> seen[2];
  const int before = num_threads();
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    const Tensor w = random_tensor({301, 311}, 5, -1, 1, DType::f32);
    const Tensor dw = strided_copy(random_tensor({301, 311}, 6, -1, 1, DType::f32));
    const Tensor states[] = {zeros_like(w), zeros_like(w)};
    const auto gradient = dw.to_vector<double>();
    adam_update(w, dw, states, {}, third_step(true));
    CHECK(dw.to_vector<double>() == gradient);
    seen[threads - 1] = w.to_vector<double>();
  }
  set_num_threads(before);
  CHECK(seen[0] == seen[1]);
}

TEST_CASE("adam_update: a value saved for backward that was updated is an error") {
  const Tensor w = ones({3}, DType::f64), dw = ones({3}, DType::f64);
  const Tensor states[] = {zeros({3}, DType::f64), zeros({3}, DType::f64)};
  Tensor x = ones({3}, DType::f64);
  x.requires_grad_();
  const Tensor y = mul(x, w);
  adam_update(w, dw, states, {}, third_step(false));
  CHECK_THROWS_WITH_AS(
      grad(y, {x}, ones({3}, DType::f64)),
      "mul: the saved value of input 1 was changed in place after it was recorded; change values after backward",
      GradError);
}

// More tensors than one launch takes; none, one and many elements; views that begin anywhere.
TEST_CASE("update_all: the bits of one update after the other, each step counted") {
  const UpdateStep at = third_step(true);
  const auto run = [&](bool together) {
    std::vector<Updated> list;
    std::vector<std::vector<Tensor>> states(100);
    for (int i = 0; i < 100; ++i) {
      const i64 n = i % 10 == 9 ? 0 : i % 10 == 8 ? 9001 + i : i * 3 + 1;
      const DType dtype = i % 4 == 3 ? DType::bf16 : i % 4 == 2 ? DType::f64 : DType::f32;
      const auto make = [&](u64 seed, double low, DType type) {
        const Tensor x = random_tensor({n + 3}, seed, low, 1, type);
        return view_of(x, {n}, {1}, i % 3);
      };
      auto& s = states[static_cast<std::size_t>(i)];
      s = {make(3, -1, state_dtype(dtype)), make(4, 0, state_dtype(dtype)), {}};
      list.push_back({make(1, -1, dtype), make(2, -1, dtype), s, scalar(i, DType::i64)});
    }
    const AdamRule rule{.beta2 = 0.99, .weight_decay = 0.1, .decoupled = true};
    if (together) update_all(list, rule, at);
    std::vector<double> values;
    for (const Updated& x : list) {
      if (!together) {
        count_up(x.step);
        adam_update(x.w, x.dw, x.states, rule, {at.lr, x.step, at.scale, at.lr_scale});
      }
      for (const Tensor& y : {x.w, x.states[0], x.states[1], x.step})
        for (const double v : y.to_vector<double>()) values.push_back(v);
    }
    return values;
  };
  CHECK(run(true) == run(false));
  update_all({}, SgdRule{}, at);
  const Tensor w = ones({2}), moved = w * 1.0;
  const Updated list[] = {{moved, w, {}, scalar(0, DType::i64)}, {w, zeros({3}), {}, scalar(0, DType::i64)}};
  CHECK_THROWS_WITH_AS(update_all(list, SgdRule{}, at), "sgd_update: shapes must match; got w [2] and dw [3]",
                       ShapeError);
  CHECK(moved.to_vector<double>() == w.to_vector<double>());
}

TEST_CASE("average_update: keep y + (1 - keep) x") {
  const Tensor y = tensor({1, 2}, DType::f64);
  average_update(y, tensor({5, 10}, DType::f64), 0.75);
  CHECK(y.to_vector<double>() == std::vector<double>{2, 4});
  average_update(zeros({0}), zeros({0}), 0.5);
  check_strided(
      "average_update",
      [](const Tensor& a, const Tensor& x, std::span<const Tensor>, const UpdateStep&) { average_update(a, x, 0.5); },
      0);
  CHECK_THROWS_WITH_AS(average_update(y, zeros({3}, DType::f64), 0.5),
                       "average_update: shapes must match; got y [2] and x [3]", ShapeError);
  CHECK_THROWS_WITH_AS(average_update(y, zeros({2}), 0.5), "average_update: x must be f64; got y f64 [2] and x f32 [2]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(average_update(expand(zeros({1}), {2}), zeros({2}), 0.5),
                       "average_update: y must be contiguous; got y f32 [2]", Error);
  CHECK_THROWS_WITH_AS(average_update(y, y, 1.5), "average_update: keep must be in [0, 1]; got 1.5", Error);
}

TEST_CASE("update: errors") {
  const Tensor w = zeros({2, 3}), m = zeros({2, 3}), v = zeros({2, 3});
  const Tensor two[] = {m, v}, one[] = {m}, wrong[] = {m, zeros({3, 2})};
  const UpdateStep at = third_step(false);
  CHECK_THROWS_WITH_AS(adam_update(w, zeros({3, 2}), two, {}, at),
                       "adam_update: shapes must match; got w [2, 3] and dw [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(adam_update(w, w, wrong, {}, at),
                       "adam_update: shapes must match; got w [2, 3] and a state [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(adam_update(w, zeros({2, 3}, DType::f64), two, {}, at),
                       "adam_update: dw must be f32; got w f32 [2, 3] and dw f64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(sgd_update(expand(zeros({1}), {2, 3}), w, {}, {}, at),
                       "sgd_update: w and its states must be contiguous; got w f32 [2, 3]", Error);
  CHECK_THROWS_WITH_AS(sgd_update(w, w, one, {}, at), "sgd_update: these settings have the states {}; got {0}", Error);
  CHECK_THROWS_WITH_AS(rmsprop_update(w, w, two, {.momentum = 0.5}, at),
                       "rmsprop_update: these settings have the states {0, 2}; got {0, 1}", Error);
  CHECK_THROWS_WITH_AS(adagrad_update(w, w, {}, {}, at), "adagrad_update: these settings have the states {0}; got {}",
                       Error);
  CHECK_THROWS_WITH_AS(lion_update(w, w, two, {}, at), "lion_update: these settings have the states {0}; got {0, 1}",
                       Error);
  const std::string here = name(default_device());
  UpdateStep wide = at;
  wide.lr = zeros({2}, DType::f64);
  CHECK_THROWS_WITH_AS(lion_update(w, w, one, {}, wide),
                       ("lion_update: lr must be f64 [] on " + here + ", where w lies; got f64 [2] on " + here).c_str(),
                       ShapeError);
  UpdateStep narrow = at;
  narrow.scale = scalar(1);
  CHECK_THROWS_WITH_AS(
      lion_update(w, w, one, {}, narrow),
      ("lion_update: scale must be f64 [] on " + here + ", where w lies; got f32 [] on " + here).c_str(), DTypeError);
  check_op({.name = "count_up",
            .op =
                [](Args x) {
                  const Tensor y = x[0] + 0.0;
                  count_up(y);
                  return y;
                },
            .reference = naive_map([](const std::vector<double>& x) { return x[0] + 1; }),
            .inputs = {Input::fixed(scalar(41, DType::i64))},
            .order = 0});
  CHECK_THROWS_WITH_AS(count_up(zeros({2}, DType::i64)), "count_up: x must be a scalar; got x [2]", ShapeError);
}
