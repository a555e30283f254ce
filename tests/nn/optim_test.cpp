#include "nn/optim.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("adamw: three steps on a square, as the algorithm gives them by hand") {
  Tensor w = scalar(2, DType::f64);
  w.requires_grad_();
  AdamW optimizer({{{{"w", w}}, 0.5, 2.0}}, {.lr = 0.05, .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-3});
  double value = 2, m = 0, v = 0;
  for (int step = 1; step <= 3; ++step) {
    optimizer.zero_grad();
    square(w).backward();
    optimizer.step();
    const double g = 2 * value;
    m = 0.5 * m + 0.5 * g, v = 0.75 * v + 0.25 * g * g;
    value = value - 0.1 * 0.5 * value -
            0.1 * (m / (1 - std::pow(0.5, step))) / (std::sqrt(v / (1 - std::pow(0.75, step))) + 1e-3);
    CHECK(w.item() == doctest::Approx(value).epsilon(1e-14));
  }
  CHECK(optimizer.steps() == 3);
}

TEST_CASE("adamw: weight decay for matrices only, stacked biases included; no gradient, no change") {
  struct Stacked : Module {
    explicit Stacked(Init& init) : inner(2, 3, init), bias(init.ones({4, 3})) {}
    void members(Members& m) override {
      m.child("inner", inner);
      m.stack("experts.{}.bias", bias);
    }
    Linear inner;
    Tensor bias;
  };
  Random random(1);
  Init init(random);
  Stacked model(init);
  const auto groups = decay_matrices(model, 0.25);
  CHECK(groups[0].weight_decay == 0.25);
  REQUIRE(groups[0].parameters.size() == 1);
  CHECK(groups[0].parameters[0].name == "inner.weight");
  CHECK(groups[1].weight_decay == 0);
  CHECK(groups[1].parameters.size() == 2);

  AdamW optimizer(groups);
  sum(model.inner.forward(ones({1, 2}))).backward();
  const auto before = model.inner.weight.to_vector<double>();
  optimizer.step();
  CHECK(model.bias.to_vector<double>() == std::vector<double>(12, 1));
  CHECK(model.inner.weight.to_vector<double>() != before);
}

TEST_CASE("adamw: state is named by parameters and can be moved to another optimizer") {
  const auto make = [] {
    Tensor w = tensor({1, -2}, DType::f64);
    w.requires_grad_();
    return w;
  };
  const auto train = [](const Tensor& w, AdamW& optimizer) {
    optimizer.zero_grad();
    sum(square(w)).backward();
    optimizer.step();
  };
  const Tensor a = make(), b = make();
  AdamW first({{{{"w", a}}}}, {.lr = 0.1}), second({{{{"w", b}}}}, {.lr = 7});
  train(a, first);
  StateDict saved;
  for (const NamedTensor& t : first.state_dict()) saved.push_back({t.name, add(t.tensor, zeros_like(t.tensor))});
  CHECK(saved[2].name == "w.exp_avg");
  second.load_state_dict(saved);
  CHECK(second.lr() == 0.1);
  CHECK(second.steps() == 1);
  {
    no_grad guard;
    b.assign(a);
  }
  train(a, first), train(b, second);
  CHECK(a.to_vector<double>() == b.to_vector<double>());
  CHECK_THROWS_WITH_AS(
      second.load_state_dict({{"lr", scalar(1, DType::f64)}, {"w.exp_avg", a}, {"w.exp_avg_sq", zeros({3})}}),
      "adamw: names, shapes and dtypes must match; got missing: step; different: w.exp_avg_sq "
      "(f32 [3], wanted f64 [2])",
      Error);
}

TEST_CASE("adamw: parameters twice or none at all") {
  Tensor w = ones({1});
  w.requires_grad_();
  CHECK_THROWS_WITH_AS(AdamW({{{{"w", w}, {"v", w}}}}),
                       "adamw: a parameter belongs to one group, under one name; got v again", Error);
  CHECK_THROWS_AS(AdamW({{{{"w", w}, {"w", ones({2})}}}}), Error);
  CHECK_THROWS_AS(AdamW({}), Error);
}

TEST_CASE("clip_grad_norm: the update is that of the clipped gradient, and gradients stay as they are") {
  Tensor a = tensor({1, 1}, DType::f64), b = tensor({1, 1}, DType::f64);
  a.requires_grad_(), b.requires_grad_();
  sum(a * tensor({3, 0}, DType::f64) + b * tensor({0, 4}, DType::f64)).backward();
  const Tensor parameters[] = {a, b};
  const Clip clip = clip_grad_norm(parameters, 2);
  CHECK(clip.norm.item() == doctest::Approx(5));
  CHECK(clip.scale.item() == doctest::Approx(2 / 5.000001));
  CHECK(clip_grad_norm(parameters, 10).scale.item() == 1);
  AdamW optimizer({{{{"a", a}, {"b", b}}}}, {.lr = 0.1, .beta1 = 0, .beta2 = 0, .eps = 1});
  optimizer.step(clip.scale);  // w - lr g / (|g| + eps)
  const double g = 3 * clip.scale.item();
  CHECK(a.to_vector<double>()[0] == doctest::Approx(1 - 0.1 * g / (g + 1)));
  CHECK(a.grad().to_vector<double>() == std::vector<double>{3, 0});
  CHECK_THROWS_WITH_AS(clip_grad_norm(parameters, 0), "clip_grad_norm: max_norm must be above 0; got 0", Error);
}

TEST_CASE("cosine schedule: warm-up, peak, middle, floor") {
  const CosineSchedule schedule{.peak = 1, .floor = 0.1, .warmup = 10, .total = 110};
  CHECK(schedule.lr(0) == doctest::Approx(0.1));
  CHECK(schedule.lr(9) == doctest::Approx(1));
  CHECK(schedule.lr(10) == doctest::Approx(1));
  CHECK(schedule.lr(60) == doctest::Approx(0.55));
  CHECK(schedule.lr(109) > 0.1);
  CHECK(schedule.lr(110) == 0.1);
  CHECK(schedule.lr(5000) == 0.1);
  CHECK(CosineSchedule{.peak = 1, .floor = 0, .warmup = 0, .total = 0}.lr(0) == 0);
}
