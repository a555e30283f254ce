#include "nn/moe/noise.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "nn/gradcheck.h"
#include "nn/moe/k_subset.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Kind = RouterNoiseKind;
using Thresholds = LoadOptions::Thresholds;

struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  RouterNoise noise;
  Setup(i64 width, i64 experts, RouterNoise::Options o) : noise(width, experts, o, init) {}
};

double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// The load by its definition: per token and expert, the k-th largest score of the others.
Tensor naive_load(const Tensor& clean, const Tensor& noisy, const Tensor& deviation, i64 k, const Tensor& mask) {
  const i64 G = clean.dim(0), N = clean.dim(1), E = clean.dim(2);
  Tensor y = zeros({G, E}, DType::f64);
  for_each_index({G, N, E}, [&](const std::vector<i64>& at) {
    if (mask && value_at(mask, {at[0], at[1]}) == 0) return;
    std::vector<double> others;
    for (i64 e = 0; e < E; ++e)
      if (e != at[2]) others.push_back(value_at(noisy, {at[0], at[1], e}));
    std::sort(others.begin(), others.end(), std::greater<>());
    const double p =
        k == E ? 1 : phi((value_at(clean, at) - others[static_cast<std::size_t>(k - 1)]) / value_at(deviation, at));
    set_value(y, {at[0], at[2]}, value_at(y, {at[0], at[2]}) + p);
  });
  return y;
}

// moefy's: thresholds from the clean scores, which of them by the noisy ones.
Tensor naive_clean_load(const Tensor& clean, const Tensor& noisy, const Tensor& deviation, i64 k) {
  const i64 G = clean.dim(0), N = clean.dim(1), E = clean.dim(2);
  Tensor y = zeros({G, E}, DType::f64);
  for_each_index({G, N, E}, [&](const std::vector<i64>& at) {
    std::vector<double> best;
    for (i64 e = 0; e < E; ++e) best.push_back(value_at(clean, {at[0], at[1], e}));
    std::sort(best.begin(), best.end(), std::greater<>());
    const double next = best[static_cast<std::size_t>(k)], last = best[static_cast<std::size_t>(k - 1)];
    const double threshold = value_at(noisy, at) > next ? next : last;
    const double p = phi((value_at(clean, at) - threshold) / value_at(deviation, at));
    set_value(y, {at[0], at[2]}, value_at(y, {at[0], at[2]}) + p);
  });
  return y;
}

Tensor load_of(const std::vector<Tensor>& in, i64 k, const Tensor& mask, Thresholds thresholds) {
  return noisy_top_k_load(in[0], {in[1], {}, in[2]}, k, mask, {thresholds});
}

}  // namespace

TEST_CASE("noise: each kind by its formula, on replayed numbers") {
  const Tensor x = random_tensor({2, 3, 4}, 1), clean = random_tensor({2, 3, 5}, 2), r = random_tensor({2, 3, 5}, 3);
  const auto run = [&](const RouterNoise& noise, const Tensor& numbers, i64 k) {
    Context context{.training = true};
    context.replayed.tensors = {numbers};
    const NoisyScores y = noise.forward(x, clean, k, context);
    CHECK_EQ(context.replayed.used, numbers ? 1 : 0);
    return y;
  };
  const Setup gumbel(4, 5, {.kind = Kind::gumbel, .scale = 0.5, .temperature = 2});
  NoisyScores y = run(gumbel.noise, r, 2);
  CHECK_LE(difference(y.logits, (clean + r * 0.5) / 2.0), 1e-15);
  CHECK_LE(difference(y.probabilities, softmax((clean + r * 0.5) / 2.0, -1)), 1e-15);
  CHECK_FALSE(static_cast<bool>(y.deviation));

  Setup gaussian(4, 5, {.kind = Kind::gaussian, .scale = 0.5, .floor = 0.1, .initial_gain = 1});
  CHECK_GT(amax(abs(gaussian.noise.weight)).item(), 0.1);
  y = run(gaussian.noise, r, 2);
  for_each_index({2, 3, 5}, [&](const std::vector<i64>& at) {
    double raw = 0;
    for (i64 d = 0; d < 4; ++d) raw += value_at(x, {at[0], at[1], d}) * value_at(gaussian.noise.weight, {d, at[2]});
    const double deviation = 0.5 * (std::log(1 + std::exp(raw)) + 0.1);
    CHECK_EQ(value_at(y.deviation, at), doctest::Approx(deviation));
    CHECK_EQ(value_at(y.logits, at), doctest::Approx(value_at(clean, at) + deviation * value_at(r, at)));
  });

  const Setup simple(4, 5, {.kind = Kind::simple});
  const Tensor u = random_tensor({5, 2, 3}, 4, 0, 1);
  y = run(simple.noise, u, 2);
  CHECK_EQ(difference(y.probabilities, sample_k_subset(clean, 2, u)), 0);

  const Setup jitter(4, 5, {.kind = Kind::jitter, .amount = 0.2});
  Context context{.training = true};
  const Tensor v = random_tensor({2, 3, 4}, 5, 0, 1);
  context.replayed.tensors = {v};
  CHECK_LE(difference(jitter.noise.input(x, context), x * (0.8 + 0.4 * v)), 1e-15);
  CHECK_EQ(difference(run(jitter.noise, {}, 2).logits, clean), 0);
}

TEST_CASE("noise: none in evaluation, and drawn in training") {
  const Tensor x = random_tensor({1, 6, 4}, 1), clean = random_tensor({1, 6, 5}, 2);
  for (const Kind kind : {Kind::none, Kind::gumbel, Kind::gaussian, Kind::jitter, Kind::simple}) {
    const Setup s(4, 5, {.kind = kind});
    Context evaluation;
    const NoisyScores still = s.noise.forward(s.noise.input(x, evaluation), clean, 2, evaluation);
    CHECK_EQ(difference(still.logits, clean), 0);
    CHECK_EQ(difference(still.probabilities, softmax(clean, -1)), 0);
    Random random(3);
    Context training{.training = true, .random = &random};
    const Tensor in = s.noise.input(x, training);
    const NoisyScores noisy = s.noise.forward(in, clean, 2, training);
    const bool moved = difference(in, x) > 0 || difference(noisy.probabilities, softmax(clean, -1)) > 1e-3;
    CHECK_EQ(moved, kind != Kind::none);
  }
}

TEST_CASE("noise: gumbel noise makes the best expert a draw from the softmax") {
  constexpr i64 kTokens = 40000;
  const Setup s(1, 3, {.kind = Kind::gumbel});
  const Tensor row = tensor({{{0.0, 1.0, -1.0}}}, DType::f64);
  Random random(5);
  Context context{.training = true, .random = &random};
  const Tensor clean = expand(row, {1, kTokens, 3});
  const NoisyScores y = s.noise.forward(zeros({1, kTokens, 1}, DType::f64), clean, 1, context);
  const Tensor share = mean(cast(dense(one_hot(argmax(y.logits, -1), 3)), DType::f64), {0, 1});
  CHECK_LE(amax(abs(share - softmax(row, -1)[0][0])).item(), 0.01);  // four deviations, as in k_subset_test
}

TEST_CASE("noise: the load is that of its definition, with gradients of order 2; masked tokens are none") {
  const Tensor mask = ne(tensor({{1, 0, 1, 1}, {0, 0, 0, 0}}), scalar(0));
  for (const i64 k : {1, 2, 4, 5})
    for (const Tensor& m : {Tensor{}, mask}) {
      CAPTURE(k);
      check_op({.name = "noisy_top_k_load",
                .op = [&](Args a) { return load_of(a, k, m, Thresholds::noisy); },
                .reference = [&](Args a) { return naive_load(a[0], a[1], a[2], k, m); },
                .inputs = {Input{2, 4, 5}, Input({2, 4, 5}, -2, 2), Input({2, 4, 5}, 0.5, 1.5)},
                .order = k == 5 ? 0 : 2,  // every token goes to every expert: a constant
                .bf16 = false});          // routers widen it
    }
  for (const i64 k : {1, 3})
    check_op({.name = "noisy_top_k_load",
              .op = [&](Args a) { return load_of(a, k, {}, Thresholds::clean); },
              .reference = [&](Args a) { return naive_clean_load(a[0], a[1], a[2], k); },
              .inputs = {Input{2, 4, 5}, Input({2, 4, 5}, -2, 2), Input({2, 4, 5}, 0.5, 1.5)},
              .bf16 = false});
  CHECK_EQ(difference(load_of({zeros({2, 0, 3}), zeros({2, 0, 3}), ones({2, 0, 3})}, 2, {}, Thresholds::noisy),
                      zeros({2, 3})),
           0);
}

TEST_CASE("noise: the load is the expected number of tokens when one expert's noise is drawn again") {
  // Every token has the noise of its other experts fixed; that of expert 0 is drawn many times.
  constexpr i64 kDraws = 40000;
  const Tensor clean = random_tensor({1, 1, 4}, 1), deviation = random_tensor({1, 1, 4}, 2, 0.5, 1.5);
  const Tensor noisy = clean + deviation * random_tensor({1, 1, 4}, 3);
  Random random(9);
  const Tensor z = random_normal({kDraws}, 0, 1, random.next(), DType::f64);
  i64 in = 0;
  for (i64 i = 0; i < kDraws; ++i) {
    const double score = value_at(clean, {0, 0, 0}) + value_at(deviation, {0, 0, 0}) * value_at(z, {i});
    i64 better = 0;
    for (i64 e = 1; e < 4; ++e) better += value_at(noisy, {0, 0, e}) > score ? 1 : 0;
    in += better < 2 ? 1 : 0;
  }
  const Tensor load = load_of({clean, noisy, deviation}, 2, {}, Thresholds::noisy);
  CHECK_LE(std::abs(static_cast<double>(in) / kDraws - value_at(load, {0, 0})), 0.01);
}

TEST_CASE("noise: gradients reach the router, its noise weight and the load") {
  const Tensor r = random_tensor({2, 3, 4}, 3), w = random_tensor({2, 3, 4}, 4);
  Setup s(5, 4, {.kind = Kind::gaussian, .initial_gain = 1});
  const auto forward = [&](const std::vector<Tensor>& in) {
    Context context{.training = true};
    context.replayed.tensors = {r};
    const NoisyScores y = s.noise.forward(in[0], in[1], 2, context);
    return sum(y.probabilities * w) + sum(square(noisy_top_k_load(in[1], y, 2, {})));
  };
  const GradReport report =
      gradcheck(s.noise, forward, {random_tensor({2, 3, 5}, 1), random_tensor({2, 3, 4}, 2)}, {.order = 2});
  CHECK_MESSAGE(report.ok, report.text());
}

TEST_CASE("noise: names and errors") {
  Setup s(3, 2, {.kind = Kind::gaussian});
  REQUIRE_EQ(s.noise.state_dict().size(), 1);
  CHECK_EQ(s.noise.state_dict()[0].name, "weight");
  CHECK_EQ(s.noise.state_dict()[0].tensor.shape(), Shape{3, 2});
  CHECK_EQ(amax(abs(s.noise.weight)).item(), 0);  // the paper's initial value
  CHECK(Setup(3, 2, {.kind = Kind::gumbel}).noise.state_dict().empty());

  CHECK_THROWS_WITH_AS(Setup(3, 2, {.temperature = 0}), "RouterNoise: temperature must be > 0; got 0", Error);
  CHECK_THROWS_WITH_AS(Setup(3, 2, {.scale = -1}), "RouterNoise: scale must be >= 0; got -1", Error);
  CHECK_THROWS_WITH_AS(Setup(3, 2, {.floor = -0.5}), "RouterNoise: floor must be >= 0; got -0.5", Error);
  CHECK_THROWS_WITH_AS(Setup(3, 2, {.amount = 2}), "RouterNoise: amount must be in [0, 1]; got 2", Error);
  CHECK_THROWS_WITH_AS(Setup(3, 2, {.initial_gain = -1}), "RouterNoise: initial_gain must be >= 0; got -1", Error);
  const Tensor a = zeros({1, 2, 3});
  CHECK_THROWS_WITH_AS(noisy_top_k_load(a, {a, {}, {}}, 1, {}),
                       "noisy_top_k_load: clean, noisy and deviation must be [G, N, E] alike; got [1, 2, 3], [1, 2, 3] "
                       "and no deviation",
                       ShapeError);
  CHECK_THROWS_WITH_AS(noisy_top_k_load(a, {a, {}, a}, 4, {}), "noisy_top_k_load: k must be in [1, 3]; got 4",
                       ShapeError);
  CHECK_THROWS_WITH_AS(noisy_top_k_load(a, {a, {}, a}, 1, ne(zeros({2}), zeros({2}))),
                       "noisy_top_k_load: mask must be [G, N] = [1, 2]; got [2]", ShapeError);
  Context context{.training = true};
  CHECK_THROWS_WITH_AS(Setup(3, 3, {.kind = Kind::gumbel}).noise.forward(a, a, 1, context),
                       "context: the layer needs random numbers; set Context::random to a Random", Error);
}
