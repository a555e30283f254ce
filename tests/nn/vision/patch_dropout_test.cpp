#include "nn/vision/patch_dropout.h"

#include <doctest/doctest.h>

#include <set>

#include "core/autograd.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Token s of sample b is the number 100 b + s, twice.
Tensor numbered(i64 samples, i64 tokens) {
  const Tensor row = arange(0, static_cast<double>(tokens), 1, DType::f64);
  const Tensor x = unsqueeze(row, 0) + 100 * unsqueeze(arange(0, static_cast<double>(samples), 1, DType::f64), 1);
  return expand(unsqueeze(x, -1), {samples, tokens, 2});
}

}  // namespace

TEST_CASE("PatchDropout: keeps the right number of different patches of each sample, and every prefix token") {
  Random random(1);
  Context training{.training = true, .random = &random}, evaluation;
  const Tensor x = numbered(3, 12);
  for (const i64 prefix : {0, 1, 2})
    for (const bool ordered : {false, true}) {
      const PatchDropout layer(0.4, prefix, ordered);
      CHECK_EQ(difference(layer.forward(x, evaluation), x), 0);
      const Tensor y = layer.forward(x, training);
      const i64 kept = (12 - prefix) * 6 / 10;
      REQUIRE(y.shape() == Shape{3, prefix + kept, 2});
      for (i64 b = 0; b < 3; ++b) {
        std::set<double> seen;
        double last = -1;
        bool rising = true;
        for (i64 s = 0; s < prefix + kept; ++s) {
          const double token = value_at(y, {b, s, 0}) - 100.0 * static_cast<double>(b);
          CHECK_EQ(value_at(y, {b, s, 1}), value_at(y, {b, s, 0}));
          if (s < prefix) CHECK_EQ(token, static_cast<double>(s));
          if (s >= prefix) CHECK_GE(token, static_cast<double>(prefix));
          CHECK_LT(token, 12);
          rising = rising && token > last;
          last = token;
          seen.insert(token);
        }
        CHECK_EQ(static_cast<i64>(seen.size()), prefix + kept);
        if (ordered) CHECK(rising);
      }
    }
}

TEST_CASE("PatchDropout: every patch stays equally often, samples differ, and gradients reach what stayed") {
  Random random(2);
  Context training{.training = true, .random = &random};
  const PatchDropout layer(0.5);
  const Tensor x = numbered(2000, 5).requires_grad_();
  const Tensor y = layer.forward(x, training);
  const Tensor stayed = grad(sum(y), {x})[0];  // 1 where a token stayed
  const std::vector<double> often = mean(stayed, {0, 2}).to_vector<double>();
  CHECK_EQ(often[0], 1);
  for (std::size_t s = 1; s < 5; ++s) {
    CHECK_GT(often[s], 0.44);  // 0.5 +- 5 deviations of 0.011
    CHECK_LT(often[s], 0.56);
  }
}

TEST_CASE("PatchDropout: one patch always stays; sizes of 0; replayed noise; wrong arguments are named") {
  Random random(1);
  Context training{.training = true, .random = &random};
  CHECK(PatchDropout(0.9).forward(numbered(2, 3), training).shape() == Shape{2, 2, 2});
  CHECK(PatchDropout(0.5).forward(numbered(2, 1), training).shape() == Shape{2, 1, 2});
  CHECK(PatchDropout(0.5).forward(zeros({0, 5, 2}), training).shape() == Shape{0, 3, 2});
  Context replay{.training = true};
  replay.replayed = {{tensor({{3, 1, 2, 0}})}};
  const Tensor y = PatchDropout(0.5).forward(numbered(1, 5), replay);
  CHECK(y[0].to_vector<double>() == std::vector<double>{0, 0, 4, 4, 2, 2});
  CHECK_THROWS_WITH_AS(PatchDropout(1), "PatchDropout: p must be in [0, 1); got 1", Error);
  CHECK_THROWS_WITH_AS(PatchDropout(0, -1), "PatchDropout: prefix must be >= 0; got -1", Error);
  CHECK_THROWS_WITH_AS(PatchDropout(0.5).forward(zeros({2, 0, 2}), training),
                       "PatchDropout: x must be [B, 1 + S, D]; got [2, 0, 2]", ShapeError);
}
