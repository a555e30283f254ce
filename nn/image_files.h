// Images of published data sets, from the files as they are offered.
#pragma once
#include "nn/image_data.h"

namespace moegrad {

/// The images of MNIST, Fashion-MNIST and others of their format: IDX files.
///   folder   has train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte,
///            unpacked; also with a dot in place of the last dash but one, as some archives have them
///   Classes  "0" .. up to the highest label of the training part
///   Format   big-endian: two bytes 0, the type 8 (unsigned byte), the number of axes, an i32 per axis, the bytes
///   Errors   IoError, by file: absent (packed: to be unpacked), another beginning, more or fewer bytes than the sizes
///            say, sizes out of range, labels that are not as many as images.  Else as ImageData::check
///   Source   yann.lecun.com/exdb/mnist; Fashion-MNIST (2017), arXiv:1708.07747
ImageData idx_images(const std::string& folder);

/// The images of CIFAR-10 in its binary version: 3 x 32 x 32.
///   folder   has data_batch_1.bin .. data_batch_5.bin, of which some may be absent, and test_batch.bin
///   Format   per image a byte for the label, then 1,024 bytes each of red, green, blue
///   Errors   IoError, by file: absent, not a whole number of images, a label above 9
///   Source   Krizhevsky: Learning multiple layers of features from tiny images (2009)
ImageData cifar10_images(const std::string& folder);

/// Which of the two a folder has; "" if neither.
std::string image_files_in(const std::string& folder);

/// The parts of idx_images: one file each.
///   Returns  pixels and sizes without labels; labels
///   Errors   IoError, as above
ImageSet read_idx_images(const std::string& path);
std::vector<i32> read_idx_labels(const std::string& path);

}  // namespace moegrad
