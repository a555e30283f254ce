#include "nn/image_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/atomic_file.h"

namespace moegrad {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = std::size_t{1} << 30;
constexpr i64 kLargestSide = 4096, kMostImages = i64{1} << 24;

unsigned char byte(const std::string& bytes, std::size_t i) { return static_cast<unsigned char>(bytes[i]); }

std::string read_data(const std::string& path) {
  if (!fs::exists(path) && fs::exists(path + ".gz"))
    throw IoError(fmt::format("{}: it must be unpacked; got {}.gz (gunzip -k)", path, path));
  return read_file(path, kLargestFile);
}

// ---- IDX

struct Idx {
  std::vector<i64> sizes;
  std::size_t begin;  // of the data
};

std::string hex(const std::string& bytes, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < std::min(count, bytes.size()); ++i)
    text += fmt::format("{}{:02x}", i ? " " : "", byte(bytes, i));
  return text.empty() ? "nothing" : text;
}

// The head of an IDX file of bytes with this many axes, whose data are all that follows.
Idx read_head(const std::string& path, const std::string& bytes, std::size_t axes) {
  const std::string magic{'\0', '\0', '\x08', static_cast<char>(axes)};
  if (bytes.compare(0, 4, magic) != 0)
    throw IoError(fmt::format("{}: an IDX file of bytes with {} axes must begin with {}; got {}", path, axes,
                              hex(magic, 4), hex(bytes, 4)));
  Idx idx{{}, 4 + 4 * axes};
  if (bytes.size() < idx.begin)
    throw IoError(fmt::format("{}: the head must have {} bytes; got {}", path, idx.begin, bytes.size()));
  for (std::size_t a = 0; a < axes; ++a) {
    i64 size = 0;
    for (std::size_t k = 0; k < 4; ++k) size = size * 256 + byte(bytes, 4 + 4 * a + k);
    const i64 most = a == 0 ? kMostImages : kLargestSide;
    if (size < 1 || size > most)
      throw IoError(fmt::format("{}: size {} must be in [1, {}]; got {}", path, a, most, size));
    idx.sizes.push_back(size);
  }
  i64 count = 1;  // at most 2^48
  for (const i64 size : idx.sizes) count *= size;
  if (static_cast<i64>(bytes.size() - idx.begin) != count)
    throw IoError(fmt::format("{}: {} bytes must follow the head, by its sizes [{}]; got {}", path, count,
                              fmt::join(idx.sizes, ", "), bytes.size() - idx.begin));
  return idx;
}

// Archives differ in the name: train-images-idx3-ubyte, train-images.idx3-ubyte.
std::string idx_path(const std::string& folder, const std::string& stem, const std::string& ending) {
  const std::string dashed = (fs::path(folder) / (stem + "-" + ending)).string();
  const std::string dotted = (fs::path(folder) / (stem + "." + ending)).string();
  return fs::exists(dotted) && !fs::exists(dashed) ? dotted : dashed;
}

ImageSet read_idx_part(const std::string& folder, const std::string& part) {
  const std::string images = idx_path(folder, part + "-images", "idx3-ubyte");
  const std::string labels = idx_path(folder, part + "-labels", "idx1-ubyte");
  ImageSet set = read_idx_images(images);
  set.labels = read_idx_labels(labels);
  const i64 count = static_cast<i64>(set.pixels.size()) / set.image_size();
  if (set.count() != count)
    throw IoError(fmt::format("{}: there must be one label for each of the {} images of {}; got {}", labels, count,
                              images, set.count()));
  return set;
}

// ---- CIFAR-10

constexpr const char* kCifarClasses[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                         "dog",      "frog",       "horse", "ship", "truck"};

void append_cifar(const std::string& path, ImageSet& set) {
  const std::string bytes = read_data(path);
  const std::size_t record = static_cast<std::size_t>(1 + set.image_size());
  if (bytes.empty() || bytes.size() % record != 0)
    throw IoError(fmt::format("{}: it must be a whole number of images of {} bytes each; got {} bytes", path, record,
                              bytes.size()));
  for (std::size_t at = 0; at < bytes.size(); at += record) {
    const i32 label = byte(bytes, at);
    if (label >= static_cast<i32>(std::size(kCifarClasses)))
      throw IoError(fmt::format("{}: labels must be in [0, {}); got {} for image {}", path, std::size(kCifarClasses),
                                label, at / record));
    set.labels.push_back(label);
    set.pixels.insert(set.pixels.end(), bytes.begin() + static_cast<i64>(at) + 1,
                      bytes.begin() + static_cast<i64>(at + record));
  }
}

std::string cifar_path(const std::string& folder, int part) {
  return (fs::path(folder) / fmt::format("data_batch_{}.bin", part)).string();
}

}  // namespace

ImageSet read_idx_images(const std::string& path) {
  const std::string bytes = read_data(path);
  const Idx idx = read_head(path, bytes, 3);
  ImageSet set{.channels = 1, .height = idx.sizes[1], .width = idx.sizes[2]};
  set.pixels.assign(bytes.begin() + static_cast<i64>(idx.begin), bytes.end());
  return set;
}

std::vector<i32> read_idx_labels(const std::string& path) {
  const std::string bytes = read_data(path);
  const Idx idx = read_head(path, bytes, 1);
  std::vector<i32> labels;
  for (std::size_t i = idx.begin; i < bytes.size(); ++i) labels.push_back(byte(bytes, i));
  return labels;
}

ImageData idx_images(const std::string& folder) {
  ImageData data;
  data.training = read_idx_part(folder, "train");
  data.validation = read_idx_part(folder, "t10k");
  const i32 last = *std::max_element(data.training.labels.begin(), data.training.labels.end());
  for (i32 c = 0; c <= last; ++c) data.classes.push_back(std::to_string(c));
  data.check(folder);
  return data;
}

ImageData cifar10_images(const std::string& folder) {
  ImageData data{.classes = {std::begin(kCifarClasses), std::end(kCifarClasses)}};
  data.training = data.validation = {.channels = 3, .height = 32, .width = 32};
  for (int part = 1; part <= 5; ++part)
    if (fs::exists(cifar_path(folder, part))) append_cifar(cifar_path(folder, part), data.training);
  append_cifar((fs::path(folder) / "test_batch.bin").string(), data.validation);
  data.check(folder);
  return data;
}

std::string image_files_in(const std::string& folder) {
  const auto has = [](const std::string& path) { return fs::exists(path) || fs::exists(path + ".gz"); };
  if (has(idx_path(folder, "train-images", "idx3-ubyte"))) return "idx";
  for (int part = 1; part <= 5; ++part)
    if (fs::exists(cifar_path(folder, part))) return "cifar10";
  return "";
}

}  // namespace moegrad
