// A folder of pictures as training data.
#pragma once
#include <string>

#include "nn/image_data.h"

namespace examples {

using moegrad::i64;
using moegrad::ImageData;

struct ImageFolderOptions {
  i64 size = 32;      ///< height and width that every picture gets
  i64 channels = 3;   ///< 1: grey
  i64 validate = 10;  ///< of every so many pictures of a class one is for validation
};

/// The PNG and JPEG files of a folder, whose sub-folders are the classes, in sorted order:
///   FOLDER/cat/1.png, FOLDER/dog/2.jpg         the last of every `validate` files of a class is for validation
///   FOLDER/train/cat/1.png, FOLDER/validation/dog/2.jpg    the parts are given; "val" and "test" mean validation, too
/// A picture is cut to a square in its middle; each of its new pixels is the mean of what it covers. Files with other
/// endings and hidden ones are left out; transparency is ignored.
///   Errors   IoError, by file or folder: absent, no classes or only one, a class without a picture to train on, a
///            picture that is broken, empty or has more than 2^26 pixels.  Error: an option out of range
ImageData folder_images(const std::string& folder, const ImageFolderOptions& options = {});

}  // namespace examples
