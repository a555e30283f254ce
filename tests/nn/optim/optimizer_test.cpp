#include "nn/optim/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/linear.h"
#include "nn/optim.h"
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
  CHECK(saved[1].name == "w.step");
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
      "adamw: names, shapes and dtypes must match; got missing: w.step; different: w.exp_avg_sq "
      "(f32 [3], wanted f64 [2])",
      Error);
}

TEST_CASE("adamw: parameters twice or none at all") {
  Tensor w = ones({1});
  w.requires_grad_();
  CHECK_THROWS_WITH_AS(AdamW({{{{"w", w}, {"v", w}}}}),
                       "adamw: a parameter belongs to one group, under one name; got v again", Error);
  CHECK_THROWS_WITH_AS(AdamW({{{{"w", w}, {"w", ones({2})}}}}),
                       "adamw: a parameter belongs to one group, under one name; got w again", Error);
  CHECK_THROWS_WITH_AS(AdamW({}), "adamw: there must be parameters that require a gradient; got none", Error);
}

namespace {

// One parameter of one number, whose gradients are given.
struct Walk {
  template <class O, class Options> static std::vector<double> of(double w0, double decay, const Options& options) {
    const double gradients[] = {0.5, -2, 0.25, 1, 0};
    Tensor w = scalar(w0, DType::f64);
    w.requires_grad_();
    O optimizer({{{{"w", w}}, decay, 2.0}}, options);
    std::vector<double> path;
    for (const double g : gradients) {
      optimizer.zero_grad();
      backward(alias(w), scalar(g, DType::f64));
      optimizer.step(scalar(0.5, DType::f64));  // as if clipped
      path.push_back(w.item());
    }
    return path;
  }
};
constexpr double kGradients[] = {0.25, -1, 0.125, 0.5, 0};  // after the scale

void check_path(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-14));
}

}  // namespace

TEST_CASE("sgd: as its rule is written, with momentum, dampening, nesterov, weight decay") {
  for (const SGD::Options& o : {SGD::Options{.lr = 0.1}, SGD::Options{.lr = 0.1, .momentum = 0.9, .dampening = 0.5},
                                SGD::Options{.lr = 0.1, .momentum = 0.75, .nesterov = true}}) {
    std::vector<double> want;
    double w = 3, v = 0;
    for (const double scaled : kGradients) {
      const double g = scaled + 0.25 * w;
      v = want.empty() ? g : o.momentum * v + (1 - o.dampening) * g;
      w -= 0.2 * (o.momentum == 0 ? g : o.nesterov ? g + o.momentum * v : v);
      want.push_back(w);
    }
    check_path(Walk::of<SGD>(3, 0.25, o), want);
  }
}

TEST_CASE("adam, adamw: as their rules are written, with amsgrad and either weight decay") {
  for (const bool decoupled : {false, true})
    for (const bool amsgrad : {false, true}) {
      std::vector<double> want;
      double w = 3, m = 0, v = 0, most = 0;
      for (const double scaled : kGradients) {
        const auto t = static_cast<double>(want.size() + 1);
        const double g = scaled + (decoupled ? 0 : 0.25 * w);
        if (decoupled) w -= 0.2 * 0.25 * w;
        m = 0.5 * m + 0.5 * g, v = 0.75 * v + 0.25 * g * g, most = std::max(most, v);
        const double spread = (amsgrad ? most : v) / (1 - std::pow(0.75, t));
        w -= 0.2 * m / (1 - std::pow(0.5, t)) / (std::sqrt(spread) + 1e-3);
        want.push_back(w);
      }
      const AdamOptions o{.lr = 0.1, .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-3, .amsgrad = amsgrad};
      check_path(decoupled ? Walk::of<AdamW>(3, 0.25, o) : Walk::of<Adam>(3, 0.25, o), want);
    }
}

TEST_CASE("rmsprop: as its rule is written, centred and with momentum") {
  for (const bool centered : {false, true})
    for (const double momentum : {0.0, 0.5}) {
      std::vector<double> want;
      double w = 3, s = 0, a = 0, b = 0;
      for (const double scaled : kGradients) {
        const double g = scaled + 0.25 * w;
        s = 0.75 * s + 0.25 * g * g, a = 0.75 * a + 0.25 * g;
        const double u = g / (std::sqrt(centered ? s - a * a : s) + 1e-3);
        b = momentum * b + u;
        w -= 0.2 * b;
        want.push_back(w);
      }
      const RMSprop::Options o{.lr = 0.1, .alpha = 0.75, .eps = 1e-3, .momentum = momentum, .centered = centered};
      check_path(Walk::of<RMSprop>(3, 0.25, o), want);
    }
}

TEST_CASE("adagrad, lion: as their rules are written") {
  std::vector<double> want;
  double w = 3, s = 0.125;
  for (const double scaled : kGradients) {
    const double g = scaled + 0.25 * w;
    s += g * g;
    w -= 0.2 / (1 + static_cast<double>(want.size()) * 0.5) * g / (std::sqrt(s) + 1e-3);
    want.push_back(w);
  }
  check_path(Walk::of<Adagrad>(3, 0.25, Adagrad::Options{.lr = 0.1, .lr_decay = 0.5, .initial = 0.125, .eps = 1e-3}),
             want);

  want.clear();
  double m = 0;
  w = 3;
  for (const double g : kGradients) {
    const double u = 0.5 * m + 0.5 * g;
    w -= 0.2 * ((u > 0 ? 1 : u < 0 ? -1 : 0) + 0.25 * w);
    m = 0.75 * m + 0.25 * g;
    want.push_back(w);
  }
  check_path(Walk::of<Lion>(3, 0.25, Lion::Options{.lr = 0.1, .beta1 = 0.5, .beta2 = 0.75}), want);
}

TEST_CASE("optimizers: states have PyTorch's names; a parameter counts its own steps") {
  const auto names = [](const Optimizer& o) {
    std::string all;
    for (const NamedTensor& t : o.state_dict()) all += t.name + " ";
    return all;
  };
  Tensor w = ones({2}), late = ones({2});
  w.requires_grad_(), late.requires_grad_();
  const std::vector<ParameterGroup> one{{{{"w", w}}}};
  CHECK(names(SGD(one, {})) == "lr w.step ");
  CHECK(names(SGD(one, {.momentum = 0.9})) == "lr w.step w.momentum_buffer ");
  CHECK(names(Adam(one, {.amsgrad = true})) == "lr w.step w.exp_avg w.exp_avg_sq w.max_exp_avg_sq ");
  CHECK(names(RMSprop(one, {.momentum = 0.5})) == "lr w.step w.square_avg w.momentum_buffer ");
  CHECK(names(RMSprop(one, {.centered = true})) == "lr w.step w.square_avg w.grad_avg ");
  CHECK(names(Adagrad(one, {})) == "lr w.step w.sum ");
  CHECK(names(Lion(one, {})) == "lr w.step w.exp_avg ");

  // The first gradient of a late parameter fills the momentum, though others have moved before.
  SGD sgd({{{{"w", w}, {"late", late}}}}, {.lr = 1, .momentum = 0.5, .dampening = 0.5});
  sum(w).backward();
  sgd.step();
  CHECK(late.to_vector<double>() == std::vector<double>{1, 1});
  sum(late).backward();
  sgd.step();
  CHECK(late.to_vector<double>() == std::vector<double>{0, 0});
  CHECK(sgd.steps() == 2);
  CHECK(sgd.state_dict()[3].name == "late.step");
  CHECK(sgd.state_dict()[3].tensor.item() == 1);
}

TEST_CASE("optimizers: settings out of range") {
  Tensor w = ones({1});
  w.requires_grad_();
  const std::vector<ParameterGroup> one{{{{"w", w}}}};
  CHECK_THROWS_WITH_AS(SGD(one, {.lr = -1}), "sgd: lr must be finite and not negative; got -1", Error);
  CHECK_THROWS_WITH_AS(SGD(one, {.momentum = -1}), "sgd: momentum must be finite and not negative; got -1", Error);
  CHECK_THROWS_WITH_AS(SGD(one, {.momentum = INFINITY}), "sgd: momentum must be finite and not negative; got inf",
                       Error);
  CHECK_THROWS_WITH_AS(RMSprop(one, {.momentum = INFINITY}),
                       "rmsprop: momentum must be finite and not negative; got inf", Error);
  CHECK_THROWS_WITH_AS(SGD({{{{"w", w}}, 0, NAN}}, {}), "sgd: lr_scale must be finite and not negative; got nan",
                       Error);
  CHECK_THROWS_WITH_AS(Adam({{{{"w", w}}, 0, -1}}), "adam: lr_scale must be finite and not negative; got -1", Error);
  CHECK_THROWS_WITH_AS(Lion({{{{"w", ones({2})}}}}, {}), "lion: a parameter must require a gradient; got w f32 [2]",
                       Error);
  CHECK_THROWS_WITH_AS(SGD(one, {.nesterov = true}), "sgd: nesterov needs a momentum above 0; got 0", Error);
  CHECK_THROWS_WITH_AS(SGD(one, {.momentum = 0.5, .dampening = 0.5, .nesterov = true}),
                       "sgd: nesterov takes no dampening; got 0.5", Error);
  CHECK_THROWS_WITH_AS(Adam(one, {.beta1 = 1}), "adam: beta1 must be in [0, 1); got 1", Error);
  CHECK_THROWS_WITH_AS(AdamW(one, {.beta2 = -1}), "adamw: beta2 must be in [0, 1); got -1", Error);
  CHECK_THROWS_WITH_AS(AdamW(one, {.eps = NAN}), "adamw: eps must not be negative; got nan", Error);
  CHECK_THROWS_WITH_AS(RMSprop(one, {.alpha = 2}), "rmsprop: alpha must be in [0, 1]; got 2", Error);
  CHECK_THROWS_WITH_AS(Adagrad(one, {.initial = -1}), "adagrad: initial must not be negative; got -1", Error);
  CHECK_THROWS_WITH_AS(Lion(one, {.beta2 = 1}), "lion: beta2 must be in [0, 1); got 1", Error);
  CHECK_THROWS_WITH_AS(Lion({{{{"w", w}}, -0.5}}, {}), "lion: weight_decay must be finite and not negative; got -0.5",
                       Error);
  CHECK_THROWS_WITH_AS(Lion({{{{"w", w}}, std::numeric_limits<double>::infinity()}}, {}),
                       "lion: weight_decay must be finite and not negative; got inf", Error);
  Lion lion(one, {});
  CHECK_THROWS_WITH_AS(lion.set_lr(NAN), "lion: lr must be finite and not negative; got nan", Error);
  CHECK(lion.lr() == 1e-4);
}

TEST_CASE("optimizers: a step with a bad scale is refused before anything has changed") {
  const std::string here = name(default_device());
  Tensor w = ones({1}, DType::f64);
  w.requires_grad_();
  SGD sgd({{{{"w", w}}}}, {.lr = 1, .momentum = 0.5});
  sum(w).backward();
  CHECK_THROWS_WITH_AS(sgd.step(scalar(0.5)),
                       ("sgd: scale must be f64 [] on " + here + ", where w lies; got f32 [] on " + here).c_str(),
                       DTypeError);
  CHECK_THROWS_WITH_AS(sgd.step(ones({1}, DType::f64)),
                       ("sgd: scale must be f64 [] on " + here + ", where w lies; got f64 [1] on " + here).c_str(),
                       ShapeError);
  CHECK(sgd.steps() == 0);
  CHECK(w.item() == 1);
}

TEST_CASE("optimizers: the momentum can be set while a run goes on") {
  const auto path = [](auto&& optimizer, const Tensor& w, double momentum) {
    optimizer.set_momentum(momentum);
    for (int i = 0; i < 3; ++i) {
      optimizer.zero_grad();
      sum(square(w)).backward();
      optimizer.step();
    }
    return w.to_vector<double>();
  };
  const auto fresh = [] { return tensor({1, -2}, DType::f64).requires_grad_(); };
  const Tensor a = fresh(), b = fresh(), c = fresh(), d = fresh();
  CHECK(path(SGD({{{{"w", a}}}}, {.lr = 0.1, .momentum = 0.1}), a, 0.5) ==
        path(SGD({{{{"w", b}}}}, {.lr = 0.1, .momentum = 0.5}), b, 0.5));
  CHECK(path(Adam({{{{"w", c}}}}, {.beta1 = 0.1}), c, 0.5) == path(Adam({{{{"w", d}}}}, {.beta1 = 0.5}), d, 0.5));
  const Tensor w = fresh();
  const std::vector<ParameterGroup> one{{{{"w", w}}}};
  CHECK_THROWS_WITH_AS(Adagrad(one, {}).set_momentum(0.5), "adagrad: it has no momentum to set; got 0.5", Error);
  CHECK_THROWS_WITH_AS(SGD(one, {}).set_momentum(0.5),
                       "sgd: momentum must have been, and stay, finite and above 0; got 0.5", Error);
  CHECK_THROWS_WITH_AS(RMSprop(one, {.momentum = 0.5}).set_momentum(0),
                       "rmsprop: momentum must have been, and stay, finite and above 0; got 0", Error);
  CHECK_THROWS_WITH_AS(SGD(one, {.momentum = 0.5}).set_momentum(INFINITY),
                       "sgd: momentum must have been, and stay, finite and above 0; got inf", Error);
  CHECK_THROWS_WITH_AS(Adam(one).set_momentum(1), "adam: beta1 must be in [0, 1); got 1", Error);
}
