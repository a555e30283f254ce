#include "nn/image_files.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>

#include "tests/support/message_of.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::string big_endian(u32 v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

// An IDX file of bytes 0, 1, 2, ..
std::string idx(const std::vector<u32>& sizes, std::size_t count) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(sizes.size())};
  for (const u32 size : sizes) bytes += big_endian(size);
  for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(i);
  return bytes;
}

std::string cifar_record(char label, char value) { return std::string(1, label) + std::string(3072, value); }

// A folder with 2 and 1 images of 2 x 3.
struct IdxFolder : TemporaryFolder {
  IdxFolder() {
    write_text(file("train-images-idx3-ubyte"), idx({2, 2, 3}, 12));
    write_text(file("train-labels-idx1-ubyte"), idx({2}, 2));
    write_text(file("t10k-images.idx3-ubyte"), idx({1, 2, 3}, 6));  // the other spelling
    write_text(file("t10k-labels.idx1-ubyte"), idx({1}, 1));
  }
  std::string folder() const { return file(""); }
};

}  // namespace

TEST_CASE("image files: IDX images and labels, under both names") {
  const IdxFolder files;
  CHECK(image_files_in(files.folder()) == "idx");
  const ImageData data = idx_images(files.folder());
  CHECK(data.classes == std::vector<std::string>{"0", "1"});
  CHECK(data.training.count() == 2);
  CHECK(data.training.height == 2);
  CHECK(data.training.width == 3);
  CHECK(data.training.labels == std::vector<i32>{0, 1});
  CHECK(std::vector<int>(data.training.image(1).begin(), data.training.image(1).end()) ==
        std::vector<int>{6, 7, 8, 9, 10, 11});
  CHECK(data.validation.count() == 1);
}

TEST_CASE(
    "image files: an IDX file that contradicts itself is an error that names it, what it should be and what it is") {
  const IdxFolder files;
  const std::string path = files.file("x");
  const auto error_of = [&](const std::string& bytes) {
    write_text(path, bytes);
    return message_of<IoError>([&] { read_idx_images(path); });
  };
  CHECK(error_of(idx({2, 2, 3}, 11)) == path + ": 12 bytes must follow the head, by its sizes [2, 2, 3]; got 11");
  CHECK(error_of(idx({2, 2, 3}, 13)) == path + ": 12 bytes must follow the head, by its sizes [2, 2, 3]; got 13");
  CHECK(error_of(idx({2}, 2)) ==
        path + ": an IDX file of bytes with 3 axes must begin with 00 00 08 03; got 00 00 08 01");
  CHECK(error_of("\x1f\x8b") == path + ": an IDX file of bytes with 3 axes must begin with 00 00 08 03; got 1f 8b");
  CHECK(error_of("") == path + ": an IDX file of bytes with 3 axes must begin with 00 00 08 03; got nothing");
  CHECK(error_of(idx({2, 2, 3}, 0).substr(0, 9)) == path + ": the head must have 16 bytes; got 9");
  CHECK(error_of(idx({0xffffffff, 0xffffffff, 0xffffffff}, 4)) ==
        path + ": size 0 must be in [1, 16777216]; got 4294967295");
  CHECK(error_of(idx({4, 0, 3}, 0)) == path + ": size 1 must be in [1, 4096]; got 0");
  CHECK(error_of(idx({1 << 24, 4096, 4096}, 4)) ==
        path + ": 281474976710656 bytes must follow the head, by its sizes [16777216, 4096, 4096]; got 4");
}

TEST_CASE("image files: IDX files that do not fit each other, are packed or absent") {
  const IdxFolder files;
  const std::string labels = files.file("train-labels-idx1-ubyte");
  write_text(labels, idx({3}, 3));
  CHECK(message_of<IoError>([&] { idx_images(files.folder()); }) ==
        fmt::format("{}: there must be one label for each of the 2 images of {}; got 3", labels,
                    files.file("train-images-idx3-ubyte")));
  std::filesystem::rename(labels, labels + ".gz");
  CHECK(message_of<IoError>([&] { idx_images(files.folder()); }) ==
        fmt::format("{0}: it must be unpacked; got {0}.gz (gunzip -k)", labels));
  std::filesystem::remove(labels + ".gz");
  CHECK(message_of<IoError>([&] { idx_images(files.folder()); }) == labels + ": there is no such file");
}

TEST_CASE("image files: CIFAR-10") {
  const TemporaryFolder files;
  const std::string part = files.file("data_batch_2.bin"), test = files.file("test_batch.bin");
  CHECK(image_files_in(files.file("")).empty());
  write_text(part, cifar_record(9, 'a') + cifar_record(0, 'b'));
  write_text(test, cifar_record(3, 'c'));
  CHECK(image_files_in(files.file("")) == "cifar10");
  const ImageData data = cifar10_images(files.file(""));
  CHECK(data.training.labels == std::vector<i32>{9, 0});
  CHECK(data.training.image(1)[3071] == 'b');
  CHECK(data.validation.labels == std::vector<i32>{3});
  CHECK(data.classes[9] == "truck");
  const auto error_of = [&](const std::string& bytes) {
    write_text(part, bytes);
    return message_of<IoError>([&] { cifar10_images(files.file("")); });
  };
  CHECK(error_of(cifar_record(1, 'a').substr(1)) ==
        part + ": it must be a whole number of images of 3073 bytes each; got 3072 bytes");
  CHECK(error_of("") == part + ": it must be a whole number of images of 3073 bytes each; got 0 bytes");
  CHECK(error_of(cifar_record(1, 'a') + cifar_record(10, 'a')) ==
        part + ": labels must be in [0, 10); got 10 for image 1");
  write_text(part, cifar_record(1, 'a'));
  std::filesystem::remove(test);
  CHECK(message_of<IoError>([&] { cifar10_images(files.file("")); }) == test + ": there is no such file");
}
