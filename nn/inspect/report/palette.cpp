#include "nn/inspect/report/palette.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace moegrad::report {
namespace {

double linear(unsigned char channel) {
  const double c = channel / 255.0;
  return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
}

unsigned char encoded(double c) {
  c = std::clamp(c, 0.0, 1.0);
  return static_cast<unsigned char>(
      std::lround(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * std::pow(c, 1 / 2.4) - 0.055)));
}

double luminance(Rgb c) { return 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b); }

// OKLab to linear sRGB.
std::array<double, 3> from_oklab(double L, double a, double b) {
  const double l = std::pow(L + 0.3963377774 * a + 0.2158037573 * b, 3);
  const double m = std::pow(L - 0.1055613458 * a - 0.0638541728 * b, 3);
  const double s = std::pow(L - 0.0894841775 * a - 1.2914855480 * b, 3);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

// Found by a search for the largest distance in OKLab between any two, to full colour vision and without one of the
// three kinds of cones, among colours with a contrast of 3.2 to the page.
constexpr std::array<Rgb, 8> kLight = {{{0x37, 0x56, 0xce},
                                        {0xcb, 0x7d, 0x04},
                                        {0x3e, 0x9f, 0x84},
                                        {0x7b, 0x00, 0x11},
                                        {0x9a, 0x77, 0xec},
                                        {0x8c, 0x53, 0x02},
                                        {0x54, 0x2a, 0x59},
                                        {0x00, 0x2e, 0x9e}}};
constexpr std::array<Rgb, 8> kDark = {{{0x43, 0x6a, 0xde},
                                       {0xdb, 0x72, 0x02},
                                       {0x2e, 0xbb, 0x9e},
                                       {0x9c, 0x5e, 0x7c},
                                       {0xb2, 0x92, 0xfb},
                                       {0xe3, 0xb9, 0x16},
                                       {0xe7, 0xeb, 0xa4},
                                       {0xa0, 0xd4, 0xfe}}};

constexpr std::array<ThemeColour, 9> kTheme = {{
    {"page", {0xf6, 0xf7, 0xf9}, {0x0f, 0x12, 0x16}},
    {"card", {0xff, 0xff, 0xff}, {0x17, 0x1b, 0x21}},
    {"ink", {0x1a, 0x1f, 0x26}, {0xe8, 0xeb, 0xf0}},
    {"muted", {0x5b, 0x65, 0x73}, {0x9c, 0xa7, 0xb5}},
    {"line", {0xe2, 0xe6, 0xeb}, {0x2a, 0x31, 0x3a}},
    {"grid", {0xec, 0xef, 0xf2}, {0x24, 0x2a, 0x32}},
    {"axis", {0xb4, 0xbc, 0xc6}, {0x4d, 0x57, 0x63}},
    {"accent", {0x2b, 0x5c, 0xd6}, {0x7d, 0xa8, 0xff}},
    {"raised", {0xf0, 0xf2, 0xf5}, {0x1f, 0x25, 0x2c}},
}};

}  // namespace

std::string hex(Rgb c) { return fmt::format("#{:02x}{:02x}{:02x}", c.r, c.g, c.b); }

Rgb oklch(double lightness, double chroma, double hue) {
  const double angle = hue * std::numbers::pi / 180;
  for (; chroma > 0; chroma -= 0.002) {
    const auto c = from_oklab(lightness, chroma * std::cos(angle), chroma * std::sin(angle));
    if (std::all_of(c.begin(), c.end(), [](double v) { return v > -1e-4 && v < 1 + 1e-4; }))
      return {encoded(c[0]), encoded(c[1]), encoded(c[2])};
  }
  const auto grey = from_oklab(lightness, 0, 0);
  return {encoded(grey[0]), encoded(grey[1]), encoded(grey[2])};
}

double contrast(Rgb a, Rgb b) {
  const auto [low, high] = std::minmax({luminance(a), luminance(b)});
  return (high + 0.05) / (low + 0.05);
}

Rgb category(i64 i, bool dark) {
  if (i < 8) return (dark ? kDark : kLight)[static_cast<std::size_t>(i)];
  // Hues a golden angle apart, so that neighbours differ, in three lightnesses that take turns.
  const double hue = std::fmod(20 + 137.508 * static_cast<double>(i), 360);
  const double step = static_cast<double>(i % 3);
  return dark ? oklch(0.62 + 0.12 * step, 0.13, hue) : oklch(0.62 - 0.10 * step, 0.14, hue);
}

Rgb sequential(double value) {
  struct Control {
    double chroma, hue;
  };
  constexpr std::array<Control, 5> controls = {{{0.11, 295}, {0.12, 262}, {0.10, 205}, {0.15, 150}, {0.18, 105}}};
  const double t = std::clamp(value, 0.0, 1.0) * 4;
  const std::size_t i = std::min<std::size_t>(3, static_cast<std::size_t>(t));
  const double f = t - static_cast<double>(i);
  const auto between = [f](double a, double b) { return a + f * (b - a); };
  return oklch(0.26 + 0.67 * t / 4, between(controls[i].chroma, controls[i + 1].chroma),
               between(controls[i].hue, controls[i + 1].hue));
}

std::span<const ThemeColour> theme() { return kTheme; }

}  // namespace moegrad::report
