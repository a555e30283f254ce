#include "nn/embedding.h"

#include <doctest/doctest.h>

#include "tests/support/check_module.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("embedding layer: rows by number, gradients added where a number repeats") {
  Random random(1);
  Init init(random, DType::f64);
  Embedding layer(3, 2, init);
  layer.load_state_dict({{"weight", tensor({{1, 2}, {3, 4}, {5, 6}}, DType::f64)}});
  const Tensor index = tensor({{2, 0}, {2, 2}}, DType::i64);
  const Tensor y = layer.forward(index);
  CHECK(y.shape() == Shape{2, 2, 2});
  CHECK(y.to_vector<double>() == std::vector<double>{5, 6, 1, 2, 5, 6, 5, 6});
  check_module(layer, index, [&](const Tensor& i) { return layer.forward(i); });
  CHECK_THROWS_WITH_AS((layer.forward(tensor({3}, DType::i64)), settle()),
                       bad_value("embedding: values must be in [-1, 3); got 3", " at element 0 of index [1]"),
                       IndexError);
}
