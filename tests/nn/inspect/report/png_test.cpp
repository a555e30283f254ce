#include "nn/inspect/report/png.h"

#include <doctest/doctest.h>

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb_image.h>

using namespace moegrad;
using namespace moegrad::report;

namespace {

using Bytes = std::vector<unsigned char>;

Bytes bytes(const std::string& text) { return {text.begin(), text.end()}; }

// The inverse of base64, by its definition.
Bytes decode(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Bytes out;
  int bits = 0, value = 0;
  for (const char c : text) {
    if (c == '=') break;
    value = value << 6 | static_cast<int>(digits.find(c));
    if ((bits += 6) < 8) continue;
    out.push_back(static_cast<unsigned char>(value >> (bits -= 8)));
    value &= (1 << bits) - 1;
  }
  return out;
}

}  // namespace

TEST_CASE("report pictures: base64 as in RFC 4648, section 10") {
  CHECK(base64(bytes("")) == "");
  CHECK(base64(bytes("f")) == "Zg==");
  CHECK(base64(bytes("fo")) == "Zm8=");
  CHECK(base64(bytes("foo")) == "Zm9v");
  CHECK(base64(bytes("foobar")) == "Zm9vYmFy");
}

TEST_CASE("report pictures: a PNG holds the pixels that went in") {
  for (const i64 channels : {i64{3}, i64{4}}) {
    Bytes pixels;
    for (i64 i = 0; i < 5 * 7 * channels; ++i) pixels.push_back(static_cast<unsigned char>(i * 37));
    const std::string uri = png_uri(5, 7, channels, pixels), start = "data:image/png;base64,";
    REQUIRE(uri.starts_with(start));
    const Bytes file = decode(uri.substr(start.size()));
    int w = 0, h = 0, n = 0;
    unsigned char* read = stbi_load_from_memory(file.data(), static_cast<int>(file.size()), &w, &h, &n, 0);
    REQUIRE(read != nullptr);
    CHECK(w == 7);
    CHECK(h == 5);
    CHECK(n == channels);
    CHECK(Bytes(read, read + pixels.size()) == pixels);
    stbi_image_free(read);
  }
}
