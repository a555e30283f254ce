#include "nn/optim/ema.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/linear.h"

using namespace moegrad;

TEST_CASE("ema: follows the parameters, swaps with them, and is saved by their names") {
  Random random(1);
  Init init(random, DType::f64);
  Linear layer(2, 1, init);
  const auto set = [&](double value) {
    no_grad guard;
    layer.weight.assign(full({1, 2}, value, DType::f64));
  };
  set(1);
  ParameterAverage average(layer, 0.75);
  set(5);
  average.update();
  CHECK(layer.weight.to_vector<double>() == std::vector<double>{5, 5});
  average.swap();
  CHECK(layer.weight.to_vector<double>() == std::vector<double>{2, 2});
  CHECK_THROWS_WITH_AS(average.update(), "ema: update needs the parameters; got a model that holds the averages",
                       Error);
  average.swap();
  CHECK(layer.weight.to_vector<double>() == std::vector<double>{5, 5});
  REQUIRE(average.state_dict()[0].name == "weight");
  CHECK(average.state_dict()[0].tensor.to_vector<double>() == std::vector<double>{2, 2});

  ParameterAverage other(layer, 0.75);
  other.load_state_dict(average.state_dict());
  CHECK(other.state_dict()[0].tensor.to_vector<double>() == std::vector<double>{2, 2});
  CHECK_THROWS_WITH_AS(other.load_state_dict({}), "ema: names, shapes and dtypes must match; got missing: weight, bias",
                       Error);
  CHECK_THROWS_WITH_AS(ParameterAverage(layer, 2), "ema: decay must be in [0, 1]; got 2", Error);
}

TEST_CASE("ema: averages of bf16 parameters move by less than a step of bf16") {
  Random random(1);
  Init init(random);
  Linear layer(1, 1, init, {.bias = false});
  layer.to(DType::bf16);
  const auto set = [&](double value) {
    no_grad guard;
    layer.weight.assign(full({1, 1}, value, DType::bf16));
  };
  set(1);
  ParameterAverage average(layer, 0.999);
  set(2);
  for (int i = 0; i < 100; ++i) average.update();
  CHECK(average.state_dict()[0].tensor.item() == doctest::Approx(2 - std::pow(0.999, 100)).epsilon(1e-5));
  average.swap();
  CHECK(layer.weight.item() == doctest::Approx(1.095).epsilon(0.01));
  average.swap();
  CHECK(layer.weight.item() == 2);
}
