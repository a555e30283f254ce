// Labelled images as training data.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "nn/batch_order.h"

namespace moegrad {

/// Images of one size and the class of each, as bytes on the host. Image i begins at pixels[i C H W]: channel by
/// channel, row by row.
struct ImageSet {
  i64 channels = 1, height = 0, width = 0;
  std::vector<unsigned char> pixels;
  std::vector<i32> labels;

  i64 count() const { return static_cast<i64>(labels.size()); }
  i64 image_size() const { return channels * height * width; }  ///< bytes of an image
  std::span<const unsigned char> image(i64 i) const {
    return std::span(pixels).subspan(static_cast<std::size_t>(i * image_size()),
                                     static_cast<std::size_t>(image_size()));
  }
};

/// A part to train on, a part to validate, and what the labels mean.
struct ImageData {
  std::vector<std::string> classes;
  ImageSet training, validation;

  /// Throws ShapeError: the parts differ in size, or a part's pixels are not its labels' images.  IndexError: a label
  /// without a class.  Error: a part without images.  The text begins with `who`.
  void check(const std::string& who) const;
};

/// Mean and deviation of each channel, of pixels in [0, 1].
struct PixelScale {
  std::vector<double> mean, deviation;
};
/// The scale that gives the images of a set mean 0 and deviation 1. A channel without deviation gets 1 in its place.
///   Errors   Error: there are no images
PixelScale pixel_scale(const ImageSet& set);

/// x = (pixel / 255 - mean) / deviation.
///   Shapes   images f32 [B, C, H, W], labels i64 [B]
struct ImageBatch {
  Tensor images, labels;
};
/// The images of these numbers, in this order.
///   Errors   IndexError: there is no such image.  ShapeError: the scale has another number of channels
ImageBatch image_batch(const ImageSet& set, std::span<const i64> numbers, const PixelScale& scale,
                       Device device = default_device());

/// Images drawn at random. `set` must outlive this.
class RandomImages : public BatchOrder {
 public:
  /// Throws Error: there are no images, or batch is below 1.  ShapeError: as image_batch
  RandomImages(const ImageSet& set, PixelScale scale, i64 batch, u64 seed, Device device = default_device());
  ImageBatch at(i64 i) const;
  ImageBatch next() { return at(position_++); }
  /// The next batch in place of an older one, in the same tensors: what a captured graph reads.
  ///   Errors   Error: in a capture, which would repeat this batch for ever.  ShapeError, DTypeError: it is no batch of
  ///            these
  void next(const ImageBatch& into);

 private:
  const ImageSet& set_;
  PixelScale scale_;
  i64 batch_;
  Device device_;
};

/// All images in their order, each once. The last batch may be smaller. `set` must outlive this.
class AllImages {
 public:
  /// Throws: as RandomImages
  AllImages(const ImageSet& set, PixelScale scale, i64 batch, Device device = default_device());
  i64 batches() const { return (set_.count() + batch_ - 1) / batch_; }
  /// Throws IndexError: there is no such batch
  ImageBatch at(i64 i) const;

 private:
  const ImageSet& set_;
  PixelScale scale_;
  i64 batch_;
  Device device_;
};

}  // namespace moegrad
