#include "nn/image_data.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "core/parallel.h"

using namespace moegrad;

namespace {

// Image i is 2 x 1 x 3, its bytes are 6 i, 6 i + 1, ..
ImageSet counting_images(i64 count) {
  ImageSet set{.channels = 2, .height = 1, .width = 3};
  for (i64 i = 0; i < count; ++i) {
    set.labels.push_back(static_cast<i32>(i % 4));
    for (i64 k = 0; k < 6; ++k) set.pixels.push_back(static_cast<unsigned char>(6 * i + k));
  }
  return set;
}

const PixelScale kPlain{{0, 0}, {1 / 255.0, 1 / 255.0}};  // gives the bytes themselves

}  // namespace

TEST_CASE("image data: a batch has the images of the numbers given, scaled per channel") {
  const ImageSet set = counting_images(5);
  const std::vector<i64> numbers{3, 0, 3};
  const ImageBatch batch = image_batch(set, numbers, {{0, 0.5}, {1, 0.1}});
  CHECK(batch.images.shape() == Shape{3, 2, 1, 3});
  CHECK(batch.labels.to_vector<i64>() == std::vector<i64>{3, 0, 3});
  const auto x = batch.images.to_vector<double>();
  for (std::size_t b = 0; b < 3; ++b)
    for (std::size_t k = 0; k < 6; ++k) {
      const double unit = (static_cast<double>(numbers[b]) * 6 + static_cast<double>(k)) / 255;
      CHECK(x[6 * b + k] == doctest::Approx(k < 3 ? unit : (unit - 0.5) / 0.1).epsilon(1e-6));  // rounded to f32
    }
  CHECK_THROWS_WITH_AS(image_batch(set, std::vector<i64>{5}, kPlain),
                       "image batch: an image's number must be in [0, 5); got 5", IndexError);
  CHECK_THROWS_WITH_AS(image_batch(set, numbers, {{0}, {1}}),
                       "image batch: the scale must be that of 2 channels; got 1 means and 1 deviations", ShapeError);
}

TEST_CASE("image data: with its own scale every channel has mean 0 and deviation 1; a constant one stays finite") {
  ImageSet set = counting_images(40);
  const PixelScale scale = pixel_scale(set);
  const auto all = AllImages(set, scale, 40).at(0).images.to_vector<double>();
  for (std::size_t c = 0; c < 2; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < 40; ++i)
      for (std::size_t k = 0; k < 3; ++k) sum += all[6 * i + 3 * c + k], squares += std::pow(all[6 * i + 3 * c + k], 2);
    CHECK(std::abs(sum / 120) < 1e-6);
    CHECK(std::abs(squares / 120 - 1) < 1e-6);
  }
  set.pixels.assign(set.pixels.size(), 7);
  CHECK(pixel_scale(set).deviation == std::vector<double>{1, 1});
}

TEST_CASE("random images: batch i depends on seed and i alone, and every image is drawn") {
  const ImageSet set = counting_images(10);
  RandomImages batches(set, kPlain, 7, 9), again(set, kPlain, 7, 9), other(set, kPlain, 7, 10);
  std::set<double> seen;
  for (int i = 0; i < 40; ++i) {
    const ImageBatch batch = batches.next();
    const auto x = batch.images.to_vector<double>();
    const auto label = batch.labels.to_vector<i64>();
    for (std::size_t b = 0; b < 7; ++b) {
      seen.insert(std::round(x[6 * b]));
      CHECK(label[b] == static_cast<i64>(std::round(x[6 * b]) / 6) % 4);
    }
  }
  CHECK(seen.size() == 10);
  CHECK(batches.position() == 40);
  again.restore(9, 17);
  CHECK(again.next().images.to_vector<double>() == batches.at(17).images.to_vector<double>());
  CHECK(other.at(17).images.to_vector<double>() != batches.at(17).images.to_vector<double>());
  const ImageBatch same = batches.at(0);
  const std::byte* place = same.images.bytes();
  again.next(same);
  CHECK(same.images.to_vector<double>() == batches.at(18).images.to_vector<double>());
  CHECK(same.labels.to_vector<i64>() == batches.at(18).labels.to_vector<i64>());
  CHECK(same.images.bytes() == place);
  CHECK_THROWS_WITH_AS(again.next(RandomImages(set, kPlain, 6, 9).at(0)),
                       "assign: shapes must match; got [7, 2, 1, 3] for x [6, 2, 1, 3]", ShapeError);
  CHECK(again.position() == 19);
  const int threads = num_threads();
  set_num_threads(1);
  const auto alone = batches.at(3).images.to_vector<double>();
  set_num_threads(3);
  CHECK(batches.at(3).images.to_vector<double>() == alone);
  set_num_threads(threads);
  CHECK_THROWS_WITH_AS(RandomImages(set, kPlain, 0, 1), "random images: batch must be at least 1; got 0", Error);
  CHECK_THROWS_WITH_AS(RandomImages(ImageSet{}, kPlain, 1, 1), "random images: there must be images; got none", Error);
}

TEST_CASE("all images: each once, in order; the last batch is smaller") {
  const ImageSet set = counting_images(10);
  const AllImages all(set, kPlain, 4);
  CHECK(all.batches() == 3);
  double next = 0;
  for (i64 i = 0; i < all.batches(); ++i)
    for (const double v : all.at(i).images.to_vector<double>()) CHECK(std::round(v) == next++);
  CHECK(next == 60);
  CHECK_THROWS_WITH_AS(all.at(3), "all images: a batch's number must be in [0, 3); got 3", IndexError);
}

TEST_CASE("image data: parts that do not fit each other are errors that say how") {
  ImageData data{{"a", "b", "c", "d"}, counting_images(5), counting_images(2)};
  data.check("here");
  data.training.labels[1] = 4;
  CHECK_THROWS_WITH_AS(data.check("here"), "here: labels must be in [0, 4); got 4 in the training part", IndexError);
  data.training.labels.pop_back();
  CHECK_THROWS_WITH_AS(data.check("here"),
                       "here: the training part must have the pixels of its images; got 30 bytes for 4 of [2, 1, 3]",
                       ShapeError);
  data.training = {.channels = 1, .height = 2, .width = 3};
  CHECK_THROWS_WITH_AS(
      data.check("here"),
      "here: both parts must have images of one size; got [1, 2, 3] to train on and [2, 1, 3] to validate", ShapeError);
  data.training = {.channels = 2, .height = 1, .width = 3};
  CHECK_THROWS_WITH_AS(data.check("here"), "here: the training part must have images; got none", Error);
}
