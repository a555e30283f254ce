#include "nn/vision/mlp.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("Mlp: fc2(gelu(fc1 x)) in loops, of another width, and its gradients") {
  Random random(1);
  Init init(random, DType::f64);
  Mlp layer(4, {.hidden = 3, .out = 5}, init);
  const Tensor x = random_tensor({2, 3, 4}, 2);
  Context context;
  const Tensor y = layer.forward(x, context);
  REQUIRE(y.shape() == Shape{2, 3, 5});
  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
    double want = value_at(layer.fc2.bias, {at[2]});
    for (i64 f = 0; f < 3; ++f) {
      double h = value_at(layer.fc1.bias, {f});
      for (i64 d = 0; d < 4; ++d) h += value_at(layer.fc1.weight, {f, d}) * value_at(x, {at[0], at[1], d});
      want += value_at(layer.fc2.weight, {at[2], f}) * h * (1 + std::erf(h / std::sqrt(2.0))) / 2;
    }
    CHECK_EQ(value_at(y, at), doctest::Approx(want).epsilon(1e-12));
  });
  const GradReport report =
      gradcheck(layer, [&](const std::vector<Tensor>& in) { return layer.forward(in[0], context); }, {x}, {.order = 2});
  CHECK_MESSAGE(report.ok, report.text());
}

TEST_CASE("Mlp: the width by itself, no bias, dropout behind both layers, as a batch too; a gate is no activation") {
  Random random(1);
  Init init(random);
  CHECK(Mlp(4, {}, init).fc1.weight.shape() == Shape{4, 4});
  CHECK_EQ(Mlp(4, {.bias = false}, init).state_dict().size(), 2);
  Context training{.training = true, .random = &random};
  Mlp(4, {.dropout = 0.5}, init).forward(zeros({1, 4}), training);
  const u32 before = random.drawn();
  const auto experts = mlp_experts(2, 4, {.hidden = 3, .dropout = 0.5}, init);
  const u32 made = random.drawn();
  experts->forward(zeros({1, 4, 4}), {.dispatch = zeros({1, 4, 5}), .experts = 2}, training);
  CHECK_EQ(random.drawn() - made, 2);
  CHECK_EQ(made - before, 4);
  CHECK_THROWS_WITH_AS(Mlp(4, {.activation = Activation::geglu}, init),
                       "Mlp: the activation must be one of a single tensor; got a gated one", Error);
  CHECK_THROWS_WITH_AS(Mlp(4, {.hidden = -3}, init), "Mlp: hidden and out must be >= 0; got -3 and 0", Error);
  CHECK_THROWS_WITH_AS(mlp_experts(2, 4, {.out = -1}, init), "Mlp: hidden and out must be >= 0; got 0 and -1", Error);
  CHECK_THROWS_WITH_AS(mlp_experts(2, 4, {.activation = Activation::swiglu}, init),
                       "Mlp: the activation must be one of a single tensor; got a gated one", Error);
  CHECK_THROWS_WITH_AS(mlp_experts(0, 4, {}, init), "FeedForwardExperts: experts must be >= 1; got 0", Error);
}
