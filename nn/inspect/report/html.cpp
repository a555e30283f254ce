#include "nn/inspect/report/html.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/fwd.h"

namespace moegrad::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct CodePoint {
  u32 value = 0;
  std::size_t bytes = 0;  // 0: what stands here is not UTF-8
};

// The code point that `s`, which is not empty, begins with. Overlong forms, surrogates and values above U+10FFFF are
// not UTF-8 (Unicode 15, table 3-7).
CodePoint first_of(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const std::size_t n = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || s.size() < n) return {};
  u32 value = byte(0) & (0x7Fu >> n);
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const u32 least = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least || value > 0x10FFFF || surrogate) return {};
  return {value, n};
}

// U+2400 + c, the picture of the control character c.
std::string picture(u32 c) { return {'\xE2', '\x90', static_cast<char>(0x80 + c)}; }

bool turns_direction(u32 c) { return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069); }

void append_clean(std::string& out, std::string_view bytes, u32 c) {
  if (c == 0x7F)
    out += picture(0x21);
  else if (c < 0x20 && c != '\n' && c != '\t')
    out += picture(c);
  else if ((c >= 0x80 && c < 0xA0) || turns_direction(c) || (c & 0xFFFE) == 0xFFFE)
    out += kReplacement;
  else
    out += bytes;
}

}  // namespace

std::string clean(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = first_of(text);
    if (c.bytes == 0)
      out += kReplacement;
    else
      append_clean(out, text.substr(0, c.bytes), c.value);
    text.remove_prefix(c.bytes == 0 ? 1 : c.bytes);
  }
  return out;
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : clean(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string visible(std::string_view character) {
  if (character.empty()) return "\u2205";
  std::string out;
  for (const char c : clean(character)) {
    if (c == '\n')
      out += "\u21B5";
    else if (c == '\t')
      out += "\u21E5";
    else
      out += c;
  }
  return out;
}

nlohmann::json numbers(const std::vector<double>& values) {
  nlohmann::json list = nlohmann::json::array();
  for (const double v : values) {
    if (!std::isfinite(v))
      list.push_back(nullptr);
    else if (v == std::round(v) && std::abs(v) < 1e15)
      list.push_back(static_cast<i64>(v));
    else
      list.push_back(std::strtod(fmt::format("{:.6g}", v).c_str(), nullptr));
  }
  return list;
}

std::string data_element(const nlohmann::json& data) {
  std::string out = "<script type=\"application/json\" class=\"data\">";
  for (const char c : data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out + "</script>\n";
}

}  // namespace moegrad::report
