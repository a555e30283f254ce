#include "nn/vision/patch_embed.h"

#include <doctest/doctest.h>

#include "nn/context.h"
#include "nn/gradcheck.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("PatchEmbed: patches row by row times its weight, also of another height; what is left over is not seen") {
  Random random(1);
  Init init(random, DType::f64);
  PatchEmbed layer(3, {.image = {5, 6}, .patch = {2, 3}, .channels = 2}, init);
  CHECK_EQ(layer.patches(), 4);
  const Tensor x = random_tensor({2, 2, 5, 6}, 3);
  Context context;
  const Tensor y = layer.forward(x, context);
  REQUIRE(y.shape() == Shape{2, 4, 3});
  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
    double want = value_at(layer.bias, {at[2]});
    for (i64 c = 0; c < 2; ++c)
      for (i64 i = 0; i < 2; ++i)
        for (i64 j = 0; j < 3; ++j)
          want +=
              value_at(layer.weight, {at[2], c, i, j}) * value_at(x, {at[0], c, at[1] / 2 * 2 + i, at[1] % 2 * 3 + j});
    CHECK_EQ(value_at(y, at), doctest::Approx(want));
  });
  const GradReport report =
      gradcheck(layer, [&](const std::vector<Tensor>& in) { return layer.forward(in[0], context); }, {x}, {.order = 2});
  CHECK_MESSAGE(report.ok, report.text());
  CHECK_EQ(layer.state_dict()[0].name, "proj.weight");
  CHECK_EQ(PatchEmbed(3, {.image = 4, .patch = 4, .bias = false}, init).state_dict().size(), 1);
}

TEST_CASE("PatchEmbed: wrong sizes are named") {
  Random random(1);
  Init init(random);
  CHECK_THROWS_WITH_AS(
      PatchEmbed(3, {.image = {8, 3}, .patch = 4}, init),
      "PatchEmbed: an image must hold a patch, and a patch a pixel; got an image of 8 x 3 and patches of 4 x 4", Error);
  CHECK_THROWS_WITH_AS(
      PatchEmbed(3, {.image = 8, .patch = 0}, init),
      "PatchEmbed: an image must hold a patch, and a patch a pixel; got an image of 8 x 8 and patches of 0 x 0", Error);
  CHECK_THROWS_WITH_AS(PatchEmbed(3, {.channels = 0}, init), "PatchEmbed: channels must be >= 1; got 0", Error);
  Context context;
  CHECK_THROWS_WITH_AS(PatchEmbed(3, {.image = 8, .patch = 4}, init).forward(zeros({1, 3, 8, 12}), context),
                       "PatchEmbed: x must be [B, 3, 8, 8]; got [1, 3, 8, 12]", ShapeError);
}
