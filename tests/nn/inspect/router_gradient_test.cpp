#include "nn/inspect/router_gradient.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/moe/quiet_routers.h"
#include "nn/moegrad.h"
#include "tests/support/check_op.h"
#include "tests/support/message_of.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr const char* kWeight = "moe.router.gate.weight";

// A mixture of four experts of different weights, in f64, with dropout behind it.
struct Model : Module {
  explicit Model(RouterNoiseKind kind, double dropout = 0) : drop(dropout) {
    Random random(11);
    Init init(random, DType::f64);
    auto router = std::make_unique<TopKRouter>(
        5, TopKRouter::Options{.experts = 4, .k = 2, .noise = {.kind = kind, .initial_gain = 0.5}}, init);
    moe = std::make_unique<MoE>(
        std::move(router),
        std::make_unique<FeedForwardExperts>(5, FeedForwardExperts::Options{.experts = 4, .hidden = 6}, init));
    x = random_normal({3, 7, 5}, 0, 1, random.next(), DType::f64);
    target = random_normal({3, 7, 5}, 0, 1, random.next(), DType::f64);
  }
  void members(Members& m) override { m.child("moe", *moe); }
  Tensor loss(Context& context) const {
    const Tensor y = drop.forward(moe->forward(x, context), context);
    return mean(square(y - target));
  }
  Tensor& weight() { return static_cast<TopKRouter&>(*moe->router).gate.weight; }

  std::unique_ptr<MoE> moe;
  Dropout drop;
  Tensor x, target;
};

const RouterGradientOptions kOptions{.parameters = kWeight, .weights = {{"load_balancing", 0.3}, {"router_z", 0.2}}};

std::vector<RouterGradient> gradients(Model& model, const RouterGradientOptions& options = kOptions) {
  return router_gradients(
      model, Random(4), [&](Context& c) { return model.loss(c); }, options);
}

// Central differences of f in the router's weight; the choices are those of a dropless top-2, which a step of 1e-6
// leaves as they are.
Tensor differences(Model& model, const std::function<double(Context&)>& f) {
  const double step = 1e-6;
  Tensor& w = model.weight();
  const Tensor before = w;
  const auto at = [&](std::vector<double> values) {
    w = from_vector(values, before.shape(), DType::f64);
    no_grad guard;
    Random random(4);
    Context context{.training = true, .random = &random};
    return f(context);
  };
  std::vector<double> slopes;
  const std::vector<double> values = before.detach().to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::vector<double> up = values, down = values;
    up[i] += step;
    down[i] -= step;
    slopes.push_back((at(up) - at(down)) / (2 * step));
  }
  w = before;
  return from_vector(slopes, before.shape(), DType::f64);
}

double weighted(Model& model, Context& context) {
  const double task = model.loss(context).item();
  return task + 0.3 * context.losses.at("load_balancing").item() + 0.2 * context.losses.at("router_z").item();
}

// Error of central differences with this step: rounding, 1e-16 / 1e-6, and the third derivative, 1e-12.
constexpr double kTolerance = 1e-8;

}  // namespace

TEST_CASE("router gradient: the parts sum to the gradient of the total loss, and each is that of its loss") {
  for (const RouterNoiseKind kind : {RouterNoiseKind::gumbel, RouterNoiseKind::gaussian, RouterNoiseKind::jitter}) {
    CAPTURE(static_cast<int>(kind));
    Model model(kind, 0.2);
    const RouterGradient g = gradients(model).at(0);
    CHECK(g.parameter == kWeight);
    REQUIRE(g.parts.size() == 4);
    Tensor sum = g.parts[0].grad;
    for (std::size_t i = 1; i < 4; ++i) sum = sum + g.parts[i].grad;
    CHECK(difference(sum, g.total) < 1e-14);
    for (const GradientPart& p : g.parts) CHECK(p.norm > 1e-6);

    const QuietRouters quiet;
    const Tensor task = differences(model, [&](Context& c) { return model.loss(c).item(); });
    CHECK(difference(g.part("task").grad, task) < kTolerance);
    for (const auto& [name, weight] : kOptions.weights) {
      const Tensor slope = differences(model, [&](Context& c) {
        model.loss(c);
        return weight * c.losses.at(name).item();
      });
      CHECK(difference(g.part(name).grad, slope) < kTolerance);
    }
  }
}

TEST_CASE("router gradient: the total and the noise part against differences of noisy and quiet losses") {
  Model model(RouterNoiseKind::gumbel, 0.2);
  const RouterGradient g = gradients(model).at(0);
  const Tensor noisy = differences(model, [&](Context& c) { return weighted(model, c); });
  CHECK(difference(g.total, noisy) < kTolerance);
  const QuietRouters quiet;
  const Tensor silent = differences(model, [&](Context& c) { return weighted(model, c); });
  CHECK(difference(g.part("noise").grad, noisy - silent) < kTolerance);
}

TEST_CASE("router gradient: without noise there is no such part, or it is 0; gradients and weights are left alone") {
  Model model(RouterNoiseKind::none, 0.2);
  Tensor& w = model.weight();
  const Tensor before = w.detach() + 0.0;
  const RouterGradient g = gradients(model).at(0);
  CHECK(g.part("noise").norm == 0);
  CHECK(std::isnan(g.angle("task", "noise")));
  CHECK(difference(before, w) == 0);
  CHECK_FALSE(w.grad());
  Model noisy(RouterNoiseKind::gumbel);
  RouterGradientOptions options = kOptions;
  options.noise = false;
  const RouterGradient h = gradients(noisy, options).at(0);
  REQUIRE(h.parts.size() == 3);
  CHECK(difference(h.parts[0].grad + h.parts[1].grad + h.parts[2].grad, h.total) < 1e-14);
}

TEST_CASE("router gradient: norms and angles by hand, and what a parameter does not touch is 0") {
  RouterGradient g;
  g.parameter = "w";
  const auto part = [](const char* name, Tensor v, double norm) { return GradientPart{name, std::move(v), norm}; };
  g.parts = {part("task", tensor({3.0, 4.0}, DType::f64), 5), part("z", tensor({-4.0, 3.0}, DType::f64), 5),
             part("balance", tensor({-6.0, -8.0}, DType::f64), 10)};
  g.total = tensor({-7.0, -1.0}, DType::f64);
  g.norm = std::sqrt(50.0);
  CHECK(g.angle("task", "z") == doctest::Approx(90));
  CHECK(g.angle("task", "balance") == doctest::Approx(180));
  CHECK(g.angle("z", "z") == doctest::Approx(0));
  CHECK_THROWS_WITH_AS(g.part("nothing"), "router gradient: there must be such a part; got 'nothing'", Error);
  const Table table = router_gradient_table({g});
  REQUIRE(table.rows.size() == 4);
  CHECK(table.rows[1] == std::vector<std::string>{"w", "z", "5", "70.7 %", "90.0°", "45.0°"});
  CHECK(table.rows[3][1] == "total");

  Model model(RouterNoiseKind::gaussian);
  RouterGradientOptions options = kOptions;
  options.parameters = "*router*";
  const auto all = gradients(model, options);
  REQUIRE(all.size() == 2);  // the noise has a weight, too, which matters in the noisy pass only
  CHECK(all[1].part("task").norm == 0);
  CHECK(all[1].part("noise").norm > 0);
}

TEST_CASE("router gradient: a history of norms and angles, and its figures") {
  Model model(RouterNoiseKind::gumbel);
  RouterGradientHistory history;
  for (i64 step = 0; step < 3; ++step) history.add(step, gradients(model));
  const RouterGradientHistory back = RouterGradientHistory::from_text(history.text());
  CHECK(back.parameters() == std::vector<std::string>{kWeight});
  const LineChart norms = back.norms(kWeight), angles = back.angles(kWeight);
  REQUIRE(norms.series.size() == 5);
  CHECK(norms.series[0].name == "task");
  CHECK(norms.series[4].name == "total");
  CHECK(norms.series[4].x == std::vector<double>{0, 1, 2});
  CHECK(norms.series[4].y[2] == gradients(model)[0].norm);
  REQUIRE(angles.series.size() == 6);
  CHECK(angles.series[0].name == "task and load_balancing");
  CHECK(angles.series[0].y[1] == gradients(model)[0].angle("task", "load_balancing"));
  CHECK(angles.level == 90);
}

TEST_CASE("router gradient: names and losses must be there") {
  Model model(RouterNoiseKind::none);
  CHECK_THROWS_WITH_AS(gradients(model, {.parameters = "*nothing*"}),
                       "router_gradients: a parameter must have such a name; got '*nothing*'", Error);
  CHECK_THROWS_WITH_AS(
      gradients(model, {.weights = {{"nothing", 1}}}),
      "router_gradients: every weighted loss must be added by the pass; got none of the name 'nothing'", Error);
  CHECK(message_of<ShapeError>([&] {
          router_gradients(
              model, Random(1), [&](Context&) { return model.x; }, kOptions);
        }) == "router_gradients: a loss must be a scalar; got f64 [3, 7, 5]");
}

TEST_CASE("router gradient: of a model that recomputes its blocks, in f32, as training does") {
  Random random(5);
  Init init(random);
  LanguageModel model(
      {.vocabulary = 7, .context = 6, .width = 8, .layers = 2, .heads = 2, .dropout = 0.1, .recompute = true},
      [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .hidden = 4}, i); }, init);
  const Tensor tokens = random_integers({2, 6}, 0, 7, random.next());
  const auto all =
      router_gradients(model, random, [&](Context& c) { return cross_entropy(model.forward(tokens, c), tokens); },
                       {.weights = {{"load_balancing", 0.01}}});
  REQUIRE(all.size() == 2);
  for (const RouterGradient& g : all) {
    CHECK(g.part("noise").norm == 0);
    CHECK(difference(g.part("task").grad + g.part("load_balancing").grad, g.total) < 1e-6);  // f32
  }
}
