#include "nn/feed_forward.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/check_module.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

double silu_of(double x) { return x / (1 + std::exp(-x)); }
double gelu_of(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

TEST_CASE("feed-forward: one number in, two hidden, by hand, for every activation") {
  const auto relu_of = [](double x) { return x > 0 ? x : 0; };
  const auto sigmoid_of = [](double x) { return 1 / (1 + std::exp(-x)); };
  const std::pair<const char*, double (*)(double)> rows[] = {
      {"relu", relu_of},
      {"gelu", gelu_of},
      {"silu", silu_of},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"sigmoid", sigmoid_of},
      {"softplus", [](double x) { return std::log1p(std::exp(x)); }},
      {"elu", [](double x) { return x > 0 ? x : std::expm1(x); }},
      {"leaky_relu", [](double x) { return x > 0 ? x : 0.01 * x; }},
      {"mish", [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }},
      {"swiglu", silu_of},
      {"geglu", gelu_of},
      {"reglu", relu_of},
      {"glu", sigmoid_of},
      {"bilinear", [](double x) { return x; }}};
  for (const auto& [name, a] : rows) {
    CAPTURE(name);
    Random random(1);
    Init init(random, DType::f64);
    FeedForward layer(1, {.hidden = 2, .activation = activation_by_name(name)}, init);
    StateDict values{{"w1.weight", tensor({{2}, {-3}}, DType::f64)},
                     {"w1.bias", tensor({0.5, 1}, DType::f64)},
                     {"w2.weight", tensor({{1, 4}}, DType::f64)},
                     {"w2.bias", tensor({0.25}, DType::f64)}};
    double up[] = {1, 1};
    if (is_gated(layer.activation)) {
      values.push_back({"w3.weight", tensor({{-1}, {2}}, DType::f64)});
      values.push_back({"w3.bias", tensor({3, 0}, DType::f64)});
      up[0] = -0.7 + 3, up[1] = 1.4;
    }
    layer.load_state_dict(values);
    Context context;
    const double expected = a(2 * 0.7 + 0.5) * up[0] + 4 * a(-3 * 0.7 + 1) * up[1] + 0.25;
    CHECK(layer.forward(tensor({0.7}, DType::f64), context).item() == doctest::Approx(expected).epsilon(1e-14));
  }
}

TEST_CASE("feed-forward: gradients of input and all parameters") {
  for (const Activation a : {Activation::gelu, Activation::swiglu, Activation::geglu, Activation::reglu}) {
    Random random(1);
    Init init(random, DType::f64);
    FeedForward layer(3, {.hidden = 4, .activation = a}, init);
    Context context;
    check_module(layer, random_tensor({2, 3}, 1), [&](const Tensor& x) { return layer.forward(x, context); },
                 {.order = 2});
  }
}

TEST_CASE("feed-forward: sizes and errors") {
  Random random(1);
  Init init(random);
  CHECK(FeedForward(8, {}, init).parameter_count() == 8 * 32 * 2 + 32 + 8);
  CHECK(FeedForward(8, {.hidden = 16, .activation = Activation::swiglu, .bias = false}, init).parameter_count() ==
        8 * 16 * 3);
  CHECK_THROWS_WITH_AS(
      activation_by_name("cube"),
      "activation: must be one of relu, gelu, silu, tanh, sigmoid, softplus, elu, leaky_relu, mish, swiglu, "
      "geglu, reglu, glu, bilinear; got cube",
      Error);
  CHECK_THROWS_WITH_AS(apply(Activation::swiglu, ones({1})),
                       "activation: swiglu needs a gate and a value; got one tensor", Error);
}
