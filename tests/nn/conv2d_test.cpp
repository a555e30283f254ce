#include "nn/conv2d.h"

#include <doctest/doctest.h>

#include "nn/context.h"
#include "tests/support/check_module.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("Conv2d: the layer is the op with its weights") {
  Random random(3);
  Init init(random, DType::f64);
  Conv2d layer(4, 6, init, {.kernel = 3, .conv = {.stride = 2, .padding = 1, .groups = 2}});
  CHECK_EQ(layer.weight.shape(), Shape{6, 2, 3, 3});
  const Tensor x = random_tensor({2, 4, 5, 6}, 1);
  Context context;
  const Tensor y = layer.forward(x, context);
  CHECK_EQ(y.shape(), Shape{2, 6, 3, 3});
  CHECK_EQ(difference(y, conv2d(x, layer.weight, layer.bias, {.stride = 2, .padding = 1, .groups = 2})), 0);
  check_module(layer, x, [&](const Tensor& in) { return layer.forward(in, context); });
  REQUIRE_EQ(layer.state_dict().size(), 2);
  CHECK_EQ(layer.state_dict()[0].name, "weight");
  CHECK_EQ(layer.state_dict()[1].name, "bias");
  CHECK_THROWS_WITH_AS(Conv2d(4, 6, init, {.conv = {.groups = 3}}),
                       "Conv2d: in, out and kernel must be >= 1, and groups divide in and out; got in = 4, out = 6, "
                       "kernel = 1, groups = 3",
                       Error);
  CHECK_THROWS_WITH_AS(Conv2d(4, 3, init, {.kernel = 2, .conv = {.groups = 2}}),
                       "Conv2d: in, out and kernel must be >= 1, and groups divide in and out; got in = 4, out = 3, "
                       "kernel = 2, groups = 2",
                       Error);
}
