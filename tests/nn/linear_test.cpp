#include "nn/linear.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/autodiff/gradcheck.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("linear layer: hand-computed, with and without bias") {
  Random random(1);
  Init init(random);
  Linear layer(2, 3, init);
  layer.load_state_dict({{"weight", tensor({{1, 2}, {3, 4}, {5, 6}})}, {"bias", tensor({10, 20, 30})}});
  CHECK(layer.forward(tensor({1, -1})).to_vector<double>() == std::vector<double>{9, 19, 29});
  Linear plain(2, 3, init, {.bias = false});
  plain.load_state_dict({{"weight", layer.weight}});
  CHECK(plain.forward(tensor({{1, -1}, {0, 1}})).to_vector<double>() == std::vector<double>{-1, -1, -1, 2, 4, 6});
  CHECK_THROWS_WITH_AS(layer.forward(zeros({2, 3})),
                       "linear: the last axis of x must be as long as that of w; got x [2, 3] and w [3, 2]",
                       ShapeError);
}

TEST_CASE("linear layer: gradients of input and parameters") {
  Random random(1);
  Init init(random, DType::f64);
  Linear layer(3, 2, init);
  CHECK_GRADIENTS(
      [&](const std::vector<Tensor>& in) {
        layer.weight = in[1], layer.bias = in[2];
        return layer.forward(in[0]);
      },
      {random_tensor({2, 4, 3}, 1), random_tensor({2, 3}, 2), random_tensor({2}, 3)}, {.order = 2});
}

TEST_CASE("linear layer: weights start within +-1/sqrt(in), as in PyTorch") {
  Random random(1);
  Init init(random);
  double most = 0;
  for (const double v : Linear(100, 80, init).weight.to_vector<double>()) most = std::max(most, std::abs(v));
  CHECK(most <= 0.1);
  CHECK(most > 0.0999);
}
