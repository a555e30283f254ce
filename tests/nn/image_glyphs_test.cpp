#include "nn/image_glyphs.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/parallel.h"
#include "nn/context.h"
#include "nn/linear.h"
#include "nn/optim.h"
#include "ops/ops.h"

using namespace moegrad;

TEST_CASE("glyph images: the same bytes for any number of threads, other ones for another seed") {
  const GlyphOptions options{.training = 300, .validation = 40};
  const int threads = num_threads();
  set_num_threads(1);
  const ImageData one = glyph_images(options);
  set_num_threads(4);
  const ImageData four = glyph_images(options);
  set_num_threads(threads);
  CHECK(one.training.pixels == four.training.pixels);
  CHECK(one.validation.pixels == four.validation.pixels);
  CHECK(one.training.labels == four.training.labels);
  CHECK(one.training.pixels != glyph_images({.training = 300, .validation = 40, .seed = 2}).training.pixels);
}

TEST_CASE("glyph images: ten classes, as frequent as chance makes them; a longer part begins like a shorter one") {
  const ImageData data = glyph_images({.training = 2000, .validation = 10, .size = 16});
  data.check("glyphs");
  CHECK(data.classes.size() == 10);
  CHECK(data.training.image_size() == 256);
  for (i32 c = 0; c < 10; ++c) {
    const auto n = std::count(data.training.labels.begin(), data.training.labels.end(), c);
    CHECK(n > 140);  // 200 on average, with a deviation of 13.4
    CHECK(n < 260);
  }
  const ImageData fewer = glyph_images({.training = 20, .validation = 10, .size = 16});
  CHECK(std::equal(fewer.training.pixels.begin(), fewer.training.pixels.end(), data.training.pixels.begin()));
  CHECK(fewer.validation.pixels == data.validation.pixels);
  CHECK(!std::equal(data.validation.pixels.begin(), data.validation.pixels.end(), data.training.pixels.begin()));
}

TEST_CASE("glyph images: without noise there is a dark ground and a bright glyph inside the image") {
  const ImageData data = glyph_images({.training = 500, .validation = 1, .largest = 1, .noise = 0, .distractors = 0});
  for (i64 i = 0; i < data.training.count(); ++i) {
    const auto image = data.training.image(i);
    const unsigned char ground = *std::min_element(image.begin(), image.end());
    CHECK(*std::max_element(image.begin(), image.end()) > ground + 80);
    for (std::size_t k = 0; k < 28; ++k)  // nothing on the border
      for (const std::size_t p : {k, 27 * 28 + k, 28 * k, 28 * k + 27}) CHECK(image[p] == ground);
  }
}

namespace {

// Share of right answers of softmax regression, trained to the end of its learning curve.
double linear_accuracy(const ImageData& data, i64 steps) {
  const PixelScale scale = pixel_scale(data.training);
  const i64 D = data.training.image_size();
  Random random(1);
  Init init(random);
  Linear model(D, static_cast<i64>(data.classes.size()), init);
  AdamW optimizer(decay_matrices(model, 0));
  RandomImages batches(data.training, scale, 128, 1);
  const CosineSchedule schedule{.peak = 3e-3, .floor = 0, .warmup = 0, .total = steps};
  for (i64 step = 0; step < steps; ++step) {
    optimizer.set_lr(schedule.lr(step));
    const ImageBatch batch = batches.next();
    cross_entropy(model.forward(reshape(batch.images, {-1, D})), batch.labels).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
  no_grad guard;
  const ImageBatch batch = AllImages(data.validation, scale, data.validation.count()).at(0);
  const Tensor answers = argmax(model.forward(reshape(batch.images, {-1, D})), -1);
  return mean(cast(eq(answers, batch.labels), DType::f32)).item();
}

}  // namespace

TEST_CASE("glyph images: a linear model gets some of them, but stays below 60 %") {
  const ImageData data = glyph_images();
  const double accuracy = linear_accuracy(data, 3000);
  CHECK(accuracy > 0.3);
  CHECK(accuracy < 0.6);
  MESSAGE("a linear model's accuracy: ", accuracy);
}

TEST_CASE("glyph images: options out of range") {
  CHECK_THROWS_WITH_AS(glyph_images({.training = 0}),
                       "glyph images: each part must have 1 to 16777216 images; got 0 and 2000", Error);
  CHECK_THROWS_WITH_AS(glyph_images({.size = 7}), "glyph images: size must be in [8, 512]; got 7", Error);
  CHECK_THROWS_WITH_AS(glyph_images({.smallest = 0.9, .largest = 0.8}),
                       "glyph images: sizes and strokes must be ranges in (0, 1]; got [0.9, 0.8] and [0.07, 0.16]",
                       Error);
  CHECK_THROWS_WITH_AS(
      glyph_images({.noise = -1}),
      "glyph images: noise must be in [0, 10], turn in [0, 0.5], distractors in [0, 1000]; got -1, 0.125 and 2", Error);
  CHECK_THROWS_WITH_AS(
      glyph_images({.turn = 0.6}),
      "glyph images: noise must be in [0, 10], turn in [0, 0.5], distractors in [0, 1000]; got 0.06, 0.6 and 2", Error);
}
