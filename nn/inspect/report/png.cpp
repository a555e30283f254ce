#include "nn/inspect/report/png.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image_write.h>
#pragma GCC diagnostic pop

#include "core/errors.h"

namespace moegrad::report {

std::string base64(const std::vector<unsigned char>& bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    u32 three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < bytes.size() ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? digits[three >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string png_uri(i64 height, i64 width, i64 channels, const std::vector<unsigned char>& pixels) {
  std::vector<unsigned char> file;
  const auto append = [](void* to, void* data, int size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    auto& out = *static_cast<std::vector<unsigned char>*>(to);
    out.insert(out.end(), bytes, bytes + size);
  };
  const int done =
      stbi_write_png_to_func(append, &file, static_cast<int>(width), static_cast<int>(height),
                             static_cast<int>(channels), pixels.data(), static_cast<int>(width * channels));
  if (done == 0) throw InternalError("report: a picture could not be packed");
  return "data:image/png;base64," + base64(file);
}

}  // namespace moegrad::report
