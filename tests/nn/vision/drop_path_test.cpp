#include "nn/vision/drop_path.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/reduce.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("DropPath: whole samples, dropped as often as p says, the others scaled; its gradient is the same mask") {
  const DropPath layer(0.25);
  Random random(1);
  Context training{.training = true, .random = &random}, evaluation;
  const Tensor x = random_tensor({4000, 3, 2}, 2).requires_grad_();
  CHECK_EQ(difference(layer.forward(x, evaluation), x), 0);
  CHECK_EQ(random.drawn(), 0);
  const Tensor y = layer.forward(x, training);
  const std::vector<double> in = x.to_vector<double>(), out = y.to_vector<double>();
  const std::vector<double> dx = grad(sum(y), {x})[0].to_vector<double>();
  int dropped = 0;
  for (std::size_t b = 0; b < 4000; ++b) {
    const bool zero = out[6 * b] == 0;
    dropped += zero;
    for (std::size_t i = 6 * b; i < 6 * b + 6; ++i) {
      REQUIRE_EQ(out[i], doctest::Approx(zero ? 0 : in[i] / 0.75).epsilon(1e-6));
      REQUIRE_EQ(dx[i], doctest::Approx(zero ? 0 : 1 / 0.75).epsilon(1e-6));
    }
  }
  CHECK_GT(dropped, 860);  // 1000 +- 5 deviations of 27
  CHECK_LT(dropped, 1140);
}

TEST_CASE("DropPath: p = 0 draws nothing, p = 1 gives zeros; wrong arguments are named") {
  Random random(1);
  Context training{.training = true, .random = &random}, no_stream{.training = true};
  const Tensor x = random_tensor({2, 3}, 2);
  CHECK_EQ(difference(DropPath(0).forward(x, no_stream), x), 0);
  CHECK_EQ(difference(DropPath(1).forward(x, training), zeros({2, 3}, DType::f64)), 0);
  CHECK(DropPath(0.5).forward(zeros({0, 3}), training).shape() == Shape{0, 3});
  CHECK_THROWS_WITH_AS(DropPath(1.5), "DropPath: p must be in [0, 1]; got 1.5", Error);
  CHECK_THROWS_WITH_AS(DropPath(0.5).forward(scalar(1), training), "DropPath: x must be [B, ..]; got []", ShapeError);
  CHECK_THROWS_WITH_AS(DropPath(0.5).forward(x, no_stream),
                       "context: the layer needs random numbers; set Context::random to a Random", Error);
}
