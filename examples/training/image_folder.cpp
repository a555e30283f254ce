#include "examples/training/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <memory>

#include "core/atomic_file.h"
#include "core/errors.h"
#include "core/parallel.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC  // another part of a program may have its own copy
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#include <stb_image.h>

namespace examples {
namespace {

namespace fs = std::filesystem;
using namespace moegrad;

constexpr std::size_t kLargestFile = std::size_t{1} << 28;
constexpr i64 kMostPixels = i64{1} << 26;

// ---- one picture

struct Picture {
  i64 height = 0, width = 0, channels = 0;
  std::unique_ptr<unsigned char, void (*)(void*)> bytes{nullptr, stbi_image_free};
  double at(i64 row, i64 column, i64 channel) const { return bytes.get()[(row * width + column) * channels + channel]; }
};

Picture read_picture(const std::string& path, i64 channels) {
  const std::string file = read_file(path, kLargestFile);
  const auto* from = reinterpret_cast<const unsigned char*>(file.data());
  const int size = static_cast<int>(file.size());
  int width = 0, height = 0, there = 0;
  const auto fail = [&] {
    throw IoError(
        fmt::format("{}: it must be a PNG or JPEG picture; got {} bytes: {}", path, size, stbi_failure_reason()));
  };
  if (stbi_info_from_memory(from, size, &width, &height, &there) == 0) fail();
  if (i64{width} * height > kMostPixels)
    throw IoError(
        fmt::format("{}: a picture must have at most {} pixels; got {} x {}", path, kMostPixels, width, height));
  Picture picture{.channels = channels};
  picture.bytes.reset(stbi_load_from_memory(from, size, &width, &height, &there, static_cast<int>(channels)));
  if (!picture.bytes) fail();
  picture.height = height;
  picture.width = width;
  return picture;
}

// Places in [0, n) that the interval [begin, end) covers, each with the length of what it covers.
template <class F> void for_each_covered(double begin, double end, i64 n, const F& f) {
  for (i64 i = static_cast<i64>(begin); i < n && static_cast<double>(i) < end; ++i)
    f(i, std::min(end, static_cast<double>(i + 1)) - std::max(begin, static_cast<double>(i)));
}

// The square in the middle in `size` x `size` pixels, channel by channel.
void shrink(const Picture& picture, i64 size, unsigned char* to) {
  const double side = static_cast<double>(std::min(picture.height, picture.width));
  const double top = (static_cast<double>(picture.height) - side) / 2;
  const double left = (static_cast<double>(picture.width) - side) / 2;
  const double step = side / static_cast<double>(size);
  for (i64 c = 0; c < picture.channels; ++c)
    for (i64 row = 0; row < size; ++row)
      for (i64 column = 0; column < size; ++column) {
        const double y = top + step * static_cast<double>(row), x = left + step * static_cast<double>(column);
        double sum = 0, area = 0;
        for_each_covered(y, y + step, picture.height, [&](i64 i, double high) {
          for_each_covered(x, x + step, picture.width, [&](i64 j, double wide) {
            sum += high * wide * picture.at(i, j, c);
            area += high * wide;
          });
        });
        *to++ = static_cast<unsigned char>(std::lround(sum / area));
      }
}

// ---- the folder

std::vector<std::string> entries(const fs::path& folder, bool folders) {
  std::error_code error;
  std::vector<std::string> names;
  for (auto at = fs::directory_iterator(folder, error); !error && at != fs::directory_iterator(); at.increment(error))
    if (at->is_directory() == folders && at->path().filename().string()[0] != '.')
      names.push_back(at->path().filename().string());
  if (error) throw IoError(fmt::format("{}: cannot list it: {}", folder.string(), error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> pictures(const fs::path& folder) {
  std::vector<std::string> found;
  for (const std::string& name : entries(folder, false)) {
    std::string ending = fs::path(name).extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
    if (ending == ".png" || ending == ".jpg" || ending == ".jpeg") found.push_back((folder / name).string());
  }
  return found;
}

struct Part {
  std::vector<std::string> paths;
  std::vector<i32> labels;
  void add(const std::string& path, std::size_t label) {
    paths.push_back(path);
    labels.push_back(static_cast<i32>(label));
  }
};

ImageSet read_part(const Part& part, const ImageFolderOptions& o) {
  ImageSet set{.channels = o.channels, .height = o.size, .width = o.size, .labels = part.labels};
  set.pixels.resize(static_cast<std::size_t>(set.count() * set.image_size()));
  parallel_for(set.count(), 4, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; ++i)
      shrink(read_picture(part.paths[static_cast<std::size_t>(i)], o.channels), o.size,
             set.pixels.data() + i * set.image_size());
  });
  return set;
}

fs::path validation_folder(const fs::path& folder) {
  for (const char* name : {"validation", "val", "test"})
    if (fs::is_directory(folder / "train") && fs::is_directory(folder / name)) return folder / name;
  return {};
}

void check(const ImageFolderOptions& o) {
  if (o.size < 1 || o.size > 4096 || (o.channels != 1 && o.channels != 3) || o.validate < 2)
    throw Error(
        fmt::format("image folder: size must be in [1, 4096], channels 1 or 3, validate at least 2; got {}, {} "
                    "and {}",
                    o.size, o.channels, o.validate));
}

}  // namespace

ImageData folder_images(const std::string& folder, const ImageFolderOptions& options) {
  check(options);
  const fs::path given = validation_folder(folder),
                 root = given.empty() ? fs::path(folder) : fs::path(folder) / "train";
  ImageData data{.classes = entries(root, true)};
  if (data.classes.size() < 2)
    throw IoError(fmt::format("{}: it must have a sub-folder for each class, two at least; got {}", root.string(),
                              data.classes.size()));
  Part training, validation;
  for (std::size_t c = 0; c < data.classes.size(); ++c) {
    const std::vector<std::string> paths = pictures(root / data.classes[c]);
    const std::size_t every = given.empty() ? static_cast<std::size_t>(options.validate) : paths.size() + 1;
    if (paths.empty())
      throw IoError(fmt::format("{}: there must be .png, .jpg or .jpeg files in it; got none",
                                (root / data.classes[c]).string()));
    for (std::size_t i = 0; i < paths.size(); ++i) (i % every == every - 1 ? validation : training).add(paths[i], c);
    if (!given.empty() && fs::is_directory(given / data.classes[c]))
      for (const std::string& path : pictures(given / data.classes[c])) validation.add(path, c);
  }
  if (validation.paths.empty())
    throw IoError(fmt::format("{}: there must be pictures to validate: {} of a class, or a folder for them; got none",
                              folder, options.validate));
  data.training = read_part(training, options);
  data.validation = read_part(validation, options);
  data.check(folder);
  return data;
}

}  // namespace examples
