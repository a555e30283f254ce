#include "nn/norm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/check_module.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("norm layers: two rows by hand") {
  Random random(1);
  Init init(random, DType::f64);
  LayerNorm layer(2, init, 0.01);
  layer.load_state_dict({{"weight", tensor({2, 3}, DType::f64)}, {"bias", tensor({10, 20}, DType::f64)}});
  const auto y = layer.forward(tensor({{1, 3}, {5, 5}}, DType::f64)).to_vector<double>();
  const double z = 1 / std::sqrt(1.01);  // mean 2, variance 1
  const double expected[] = {10 - 2 * z, 20 + 3 * z, 10, 20};
  for (std::size_t i = 0; i < 4; ++i) CHECK(y[i] == doctest::Approx(expected[i]).epsilon(1e-14));

  RMSNorm rms(2, init, 0.5);
  rms.load_state_dict({{"weight", tensor({2, 3}, DType::f64)}});
  const auto r = rms.forward(tensor({{1, 3}}, DType::f64)).to_vector<double>();
  CHECK(r[0] == doctest::Approx(2 / std::sqrt(5.5)).epsilon(1e-14));
  CHECK(r[1] == doctest::Approx(9 / std::sqrt(5.5)).epsilon(1e-14));
}

TEST_CASE("norm layers: gradients of input and parameters") {
  Random random(1);
  Init init(random, DType::f64);
  LayerNorm layer(4, init);
  check_module(layer, random_tensor({2, 3, 4}, 1), [&](const Tensor& x) { return layer.forward(x); }, {.order = 2});
  RMSNorm rms(4, init);
  check_module(rms, random_tensor({2, 3, 4}, 1), [&](const Tensor& x) { return rms.forward(x); }, {.order = 2});
}

TEST_CASE("norm layers: gamma and beta, as two projects name them") {
  Random random(1);
  Init init(random, DType::f64);
  GammaNorm rms(2, GammaNorm::Kind::rms, init), layer(2, GammaNorm::Kind::layer, init);
  rms.load_state_dict({{"gamma", tensor({2, 3}, DType::f64)}});
  const auto r = rms.forward(tensor({{3, 4}, {0, 0}}, DType::f64)).to_vector<double>();
  const double want[] = {2 * 0.6 * std::sqrt(2.0), 3 * 0.8 * std::sqrt(2.0), 0, 0};
  for (std::size_t i = 0; i < 4; ++i) CHECK(r[i] == doctest::Approx(want[i]).epsilon(1e-14));

  layer.load_state_dict({{"gamma", tensor({2, 3}, DType::f64)}, {"beta", tensor({10, 20}, DType::f64)}});
  const auto y = layer.forward(tensor({{1, 3}}, DType::f64)).to_vector<double>();
  const double z = 1 / std::sqrt(1 + 1e-5);
  CHECK(y[0] == doctest::Approx(10 - 2 * z).epsilon(1e-14));
  CHECK(y[1] == doctest::Approx(20 + 3 * z).epsilon(1e-14));
  CHECK_EQ(layer.parameter_count(), 2);  // beta is a buffer
  for (const GammaNorm::Kind kind : {GammaNorm::Kind::rms, GammaNorm::Kind::layer}) {
    GammaNorm norm(4, kind, init);
    check_module(norm, random_tensor({2, 3, 4}, 1), [&](const Tensor& x) { return norm.forward(x); }, {.order = 2});
  }

  layer.to(DType::bf16);
  CHECK(layer.forward(zeros({1, 2}, DType::bf16)).dtype() == DType::bf16);
  CHECK(layer.forward(zeros({1, 2})).dtype() == DType::f32);
}
