#include "examples/training/image_folder.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "core/atomic_file.h"
#include "core/errors.h"
#include "tests/support/message_of.h"
#include "tests/support/temporary_folder.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb_image_write.h>

using namespace moegrad;
using namespace moegrad::test;
using examples::folder_images;

namespace {

using Colour = std::function<int(int row, int column, int channel)>;

void write_picture(const std::string& path, int height, int width, const Colour& colour) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::vector<unsigned char> bytes;
  for (int row = 0; row < height; ++row)
    for (int column = 0; column < width; ++column)
      for (int c = 0; c < 3; ++c) bytes.push_back(static_cast<unsigned char>(colour(row, column, c)));
  if (path.ends_with(".png"))
    REQUIRE(stbi_write_png(path.c_str(), width, height, 3, bytes.data(), 3 * width) != 0);
  else
    REQUIRE(stbi_write_jpg(path.c_str(), width, height, 3, bytes.data(), 95) != 0);
}

Colour plain(int value) {
  return [value](int, int, int) { return value; };
}

}  // namespace

TEST_CASE("image folder: sub-folders are classes, the last of every few files is for validation") {
  const TemporaryFolder folder;
  for (int i = 0; i < 4; ++i) write_picture(folder.file(fmt::format("cat/{}.png", i)), 4, 4, plain(10 * i));
  for (int i = 0; i < 3; ++i) write_picture(folder.file(fmt::format("bee/{}.jpg", i)), 8, 8, plain(100 + 10 * i));
  write_text(folder.file("cat/notes.txt"), "no picture");
  const ImageData data = folder_images(folder.file(""), {.size = 2, .channels = 3, .validate = 2});
  CHECK(data.classes == std::vector<std::string>{"bee", "cat"});
  CHECK(data.training.labels == std::vector<i32>{0, 0, 1, 1});
  CHECK(data.validation.labels == std::vector<i32>{0, 1, 1});
  const auto value = [](const ImageSet& set, i64 i) { return int{set.image(i)[0]}; };
  CHECK(std::abs(value(data.training, 1) - 120) <= 2);  // a JPEG is not exact
  CHECK(value(data.training, 3) == 20);
  CHECK(value(data.validation, 2) == 30);
}

TEST_CASE("image folder: a picture's middle, each new pixel the mean of what it covers, channel by channel") {
  const TemporaryFolder folder;
  // 2 rows of 6 columns; the middle square is columns 2 and 3.
  const Colour colour = [](int row, int column, int c) { return 100 * c + 20 * row + column; };
  for (const char* name : {"a/1.png", "a/2.png", "b/1.png"}) write_picture(folder.file(name), 2, 6, colour);
  const ImageData whole = folder_images(folder.file(""), {.size = 2, .channels = 3, .validate = 2});
  const auto bytes = whole.training.image(0);
  CHECK(std::vector<int>(bytes.begin(), bytes.end()) ==
        std::vector<int>{2, 3, 22, 23, 102, 103, 122, 123, 202, 203, 222, 223});
  const ImageData one = folder_images(folder.file(""), {.size = 1, .channels = 3, .validate = 2});
  CHECK(one.training.image(0)[0] == 13);  // 12.5, rounded up
  const ImageData larger = folder_images(folder.file(""), {.size = 3, .channels = 1, .validate = 2});
  CHECK(larger.training.image_size() == 9);
  const auto grey = larger.training.image(0);
  CHECK(grey[4] > grey[0]);  // its middle pixel covers a quarter of all four
  CHECK(grey[8] > grey[4]);
}

TEST_CASE("image folder: parts that are given") {
  const TemporaryFolder folder;
  for (const char* name : {"train/a/1.png", "train/b/1.png", "train/b/2.png", "val/b/1.png"})
    write_picture(folder.file(name), 2, 2, plain(9));
  const ImageData data = folder_images(folder.file(""), {.size = 2});
  CHECK(data.training.labels == std::vector<i32>{0, 1, 1});
  CHECK(data.validation.labels == std::vector<i32>{1});
}

TEST_CASE("image folder: errors name the file or folder") {
  const TemporaryFolder folder;
  const std::string root = folder.file("");
  const auto error = [&] { return message_of<IoError>([&] { folder_images(root, {.size = 2, .validate = 2}); }); };
  CHECK(error() == root + ": it must have a sub-folder for each class, two at least; got 0");
  CHECK(message_of<IoError>([&] {
          folder_images(folder.file("none"));
        }).starts_with(folder.file("none") + ": cannot list it"));
  write_picture(folder.file("a/1.png"), 2, 2, plain(9));
  std::filesystem::create_directories(folder.file("b"));
  CHECK(error() == root + "b: there must be .png, .jpg or .jpeg files in it; got none");
  write_picture(folder.file("b/1.png"), 2, 2, plain(9));
  CHECK(error() == root + ": there must be pictures to validate: 2 of a class, or a folder for them; got none");
  write_text(folder.file("b/2.png"), "no picture");
  CHECK(error().starts_with(root + "b/2.png: it must be a PNG or JPEG picture; got 10 bytes"));
  std::string cut = read_file(folder.file("b/1.png"));
  write_text(folder.file("b/2.png"), cut.substr(0, cut.size() - 20));
  CHECK(error().starts_with(root + "b/2.png: it must be a PNG or JPEG picture"));
  CHECK(message_of<Error>([&] { folder_images(root, {.size = 0}); }) ==
        "image folder: size must be in [1, 4096], channels 1 or 3, validate at least 2; got 0, 3 and 10");
}
