#include "nn/image_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/cuda.h"
#include "core/parallel.h"
#include "core/philox.h"

namespace moegrad {
namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

std::string sizes(const ImageSet& set) { return fmt::format("[{}, {}, {}]", set.channels, set.height, set.width); }

void check_part(const std::string& who, const char* part, const ImageSet& set, i64 classes) {
  if (set.count() == 0) throw Error(fmt::format("{}: the {} part must have images; got none", who, part));
  if (set.channels < 1 || set.height < 1 || set.width < 1 || at(set.count() * set.image_size()) != set.pixels.size())
    throw ShapeError(fmt::format("{}: the {} part must have the pixels of its images; got {} bytes for {} of {}", who,
                                 part, set.pixels.size(), set.count(), sizes(set)));
  for (const i32 label : set.labels)
    if (label < 0 || label >= classes)
      throw IndexError(fmt::format("{}: labels must be in [0, {}); got {} in the {} part", who, classes, label, part));
}

void check_batches(const char* who, const ImageSet& set, i64 batch) {
  if (set.count() == 0) throw Error(fmt::format("{}: there must be images; got none", who));
  if (batch < 1) throw Error(fmt::format("{}: batch must be at least 1; got {}", who, batch));
}

void check_scale(const ImageSet& set, const PixelScale& scale) {
  if (scale.mean.size() != at(set.channels) || scale.deviation.size() != at(set.channels))
    throw ShapeError(fmt::format("image batch: the scale must be that of {} channels; got {} means and {} deviations",
                                 set.channels, scale.mean.size(), scale.deviation.size()));
}

// What each of the 256 bytes becomes, for each channel.
std::vector<float> float_of_byte(const PixelScale& scale) {
  std::vector<float> table;
  for (std::size_t c = 0; c < scale.mean.size(); ++c)
    for (int byte = 0; byte < 256; ++byte)
      table.push_back(static_cast<float>((byte / 255.0 - scale.mean[c]) / scale.deviation[c]));
  return table;
}

constexpr u32 kImageDraw = 0x1A6E0000;  // far from the numbers that a Random of the same seed hands out

}  // namespace

void ImageData::check(const std::string& who) const {
  if (sizes(training) != sizes(validation))
    throw ShapeError(fmt::format("{}: both parts must have images of one size; got {} to train on and {} to validate",
                                 who, sizes(training), sizes(validation)));
  check_part(who, "training", training, static_cast<i64>(classes.size()));
  check_part(who, "validation", validation, static_cast<i64>(classes.size()));
}

PixelScale pixel_scale(const ImageSet& set) {
  check_batches("pixel scale", set, 1);
  PixelScale scale;
  const i64 area = set.height * set.width;
  const double n = static_cast<double>(area * set.count());
  for (i64 c = 0; c < set.channels; ++c) {
    u64 total = 0, squares = 0;  // whole numbers: exact in any order
    for (i64 i = 0; i < set.count(); ++i)
      for (const unsigned char v : set.image(i).subspan(at(c * area), at(area))) total += v, squares += u64{v} * v;
    const double mean = static_cast<double>(total) / n / 255;
    const double variance = static_cast<double>(squares) / n / (255.0 * 255) - mean * mean;
    scale.mean.push_back(mean);
    scale.deviation.push_back(variance > 1e-9 ? std::sqrt(variance) : 1);
  }
  return scale;
}

ImageBatch image_batch(const ImageSet& set, std::span<const i64> numbers, const PixelScale& scale, Device device) {
  check_scale(set, scale);
  const i64 B = static_cast<i64>(numbers.size()), area = set.height * set.width;
  for (const i64 i : numbers)
    if (i < 0 || i >= set.count())
      throw IndexError(fmt::format("image batch: an image's number must be in [0, {}); got {}", set.count(), i));
  const std::vector<float> table = float_of_byte(scale);
  const ImageBatch batch{empty({B, set.channels, set.height, set.width}, DType::f32, Device::cpu),
                         empty({B}, DType::i64, Device::cpu)};
  float* x = batch.images.data<float>();
  i64* label = batch.labels.data<i64>();
  parallel_for(B, 16, [&](i64 begin, i64 end) {
    for (i64 b = begin; b < end; ++b) {
      const i64 i = numbers[at(b)];
      const std::span<const unsigned char> from = set.image(i);
      for (i64 p = 0; p < set.image_size(); ++p) x[b * set.image_size() + p] = table[at(p / area * 256 + from[at(p)])];
      label[b] = set.labels[at(i)];
    }
  });
  return {batch.images.to(device), batch.labels.to(device)};
}

RandomImages::RandomImages(const ImageSet& set, PixelScale scale, i64 batch, u64 seed, Device device)
    : BatchOrder(seed), set_(set), scale_(std::move(scale)), batch_(batch), device_(device) {
  check_batches("random images", set, batch);
  check_scale(set, scale_);
}

ImageBatch RandomImages::at(i64 i) const {
  std::vector<i64> numbers;
  for (i64 b = 0; b < batch_; ++b)
    numbers.push_back(random::below(set_.count(), seed_, kImageDraw, static_cast<u32>(i), b));
  return image_batch(set_, numbers, scale_, device_);
}

void RandomImages::next(const ImageBatch& into) {
  if constexpr (kWithCuda)
    if (device_ == Device::cuda && cuda::capturing())
      throw Error("random images: a batch must be made before a captured graph is replayed, not in it");
  const ImageBatch batch = at(position_);
  into.images.assign(batch.images);
  into.labels.assign(batch.labels);
  ++position_;
}

AllImages::AllImages(const ImageSet& set, PixelScale scale, i64 batch, Device device)
    : set_(set), scale_(std::move(scale)), batch_(batch), device_(device) {
  check_batches("all images", set, batch);
  check_scale(set, scale_);
}

ImageBatch AllImages::at(i64 i) const {
  if (i < 0 || i >= batches())
    throw IndexError(fmt::format("all images: a batch's number must be in [0, {}); got {}", batches(), i));
  std::vector<i64> numbers(moegrad::at(std::min(batch_, set_.count() - i * batch_)));
  std::iota(numbers.begin(), numbers.end(), i * batch_);
  return image_batch(set_, numbers, scale_, device_);
}

}  // namespace moegrad
