#include "nn/dropout.h"

#include <doctest/doctest.h>

using namespace moegrad;

TEST_CASE("dropout layer: the same tensor outside training; in training zeros and scaled values, new ones each time") {
  const Dropout layer(0.25);
  const Tensor x = ones({1000});
  Random random(1);
  Context evaluation, training{.training = true, .random = &random};
  CHECK(layer.forward(x, evaluation).to_vector<float>() == x.to_vector<float>());
  CHECK(random.drawn() == 0);
  const auto first = layer.forward(x, training).to_vector<float>(),
             second = layer.forward(x, training).to_vector<float>();
  CHECK(first != second);
  int zeros = 0;
  for (const float v : first) {
    CHECK((v == 0 || v == doctest::Approx(4.0 / 3)));
    zeros += v == 0;
  }
  CHECK(zeros > 190);
  CHECK(zeros < 310);
  CHECK(random.drawn() == 2);
}

TEST_CASE("dropout layer: p = 0 draws nothing; a bad p and a missing stream are errors") {
  Context training{.training = true};
  CHECK(Dropout(0).forward(ones({2}), training).to_vector<float>() == std::vector<float>{1, 1});
  CHECK_THROWS_WITH_AS(Dropout(0.5).forward(ones({2}), training),
                       "context: the layer needs random numbers; set Context::random to a Random", Error);
  CHECK_THROWS_WITH_AS(Dropout(1), "dropout: p must be in [0, 1); got 1", Error);
}
