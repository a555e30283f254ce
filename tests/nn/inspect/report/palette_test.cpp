#include "nn/inspect/report/palette.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <set>

#include "nn/inspect/report/style.h"

using namespace moegrad;
using namespace moegrad::report;

namespace {

using Colour = std::array<double, 3>;
using Matrix = std::array<Colour, 3>;

// How a colour looks without one kind of cones, in linear sRGB: Machado, Oliveira, Fernandes, A physiologically-based
// model for simulation of color vision deficiency (2009), severity 1; and the identity.
constexpr std::array<Matrix, 4> kVision = {{
    {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
    {{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}}},
    {{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}}},
    {{{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}}},
}};

Colour times(const Matrix& m, const Colour& c) {
  Colour out{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) out[i] += m[i][j] * c[j];
  return out;
}

double linear(unsigned char v) { return v <= 10 ? v / 255.0 / 12.92 : std::pow((v / 255.0 + 0.055) / 1.055, 2.4); }

Colour oklab(Rgb c, const Matrix& vision) {
  Colour l = times(vision, {linear(c.r), linear(c.g), linear(c.b)});
  l = times({{{0.4122214708, 0.5363325363, 0.0514459929},
              {0.2119034982, 0.6806995451, 0.1073969566},
              {0.0883024619, 0.2817188376, 0.6299787005}}},
            l);
  for (double& v : l) v = std::cbrt(std::max(v, 0.0));
  return times({{{0.2104542553, 0.7936177850, -0.0040720468},
                 {1.9779984951, -2.4285922050, 0.4505937099},
                 {0.0259040371, 0.7827717662, -0.8086757660}}},
               l);
}

double distance(Rgb a, Rgb b, const Matrix& vision) {
  const Colour x = oklab(a, vision), y = oklab(b, vision);
  return std::hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2]);
}

Rgb named(const std::string& name, bool dark) {
  for (const ThemeColour& c : theme())
    if (c.name == name) return dark ? c.dark : c.light;
  FAIL("no colour " << name);
  return {};
}

Rgb over(Rgb top, Rgb below, double opacity) {
  const auto mix = [&](int a, int b) {
    return static_cast<unsigned char>(std::lround(opacity * a + (1 - opacity) * b));
  };
  return {mix(top.r, below.r), mix(top.g, below.g), mix(top.b, below.b)};
}

}  // namespace

TEST_CASE("report colours: contrast is that of the guidelines") {
  CHECK(contrast({0, 0, 0}, {255, 255, 255}) == doctest::Approx(21));
  CHECK(contrast({118, 118, 118}, {255, 255, 255}) == doctest::Approx(4.54).epsilon(0.01));
  CHECK(hex({1, 171, 255}) == "#01abff");
}

TEST_CASE("report colours: text is read on the page and on cards, light and dark") {
  for (const bool dark : {false, true})
    for (const char* ground : {"page", "card", "raised"}) {
      INFO(ground << " dark " << dark);
      CHECK(contrast(named("ink", dark), named(ground, dark)) >= 12);
      CHECK(contrast(named("muted", dark), named(ground, dark)) >= 4.5);
      CHECK(contrast(named("accent", dark), named(ground, dark)) >= 4.5);
    }
}

TEST_CASE("report colours: every category is seen on a card, and text is read on the strongest of its tints") {
  for (const bool dark : {false, true})
    for (i64 i = 0; i < 128; ++i) {
      INFO("category " << i << " dark " << dark << " " << hex(category(i, dark)));
      CHECK(contrast(category(i, dark), named("card", dark)) >= 3);
      CHECK(contrast(named("ink", dark), over(category(i, dark), named("card", dark), kStrongest)) >= 4.5);
    }
}

TEST_CASE("report colours: the first eight differ with any colour vision, all 128 are different") {
  for (const bool dark : {false, true}) {
    std::set<std::string> all;
    for (i64 i = 0; i < 128; ++i) all.insert(hex(category(i, dark)));
    CHECK(all.size() == 128);
    for (i64 i = 0; i < 8; ++i)
      for (i64 j = 0; j < i; ++j)
        for (std::size_t v = 0; v < kVision.size(); ++v) {
          INFO(i << " " << j << " vision " << v << " dark " << dark);
          CHECK(distance(category(i, dark), category(j, dark), kVision[v]) >= 0.1);  // 0.02 is just seen
        }
  }
}

TEST_CASE("report colours: the scale of values rises evenly in lightness, with any colour vision") {
  for (std::size_t v = 0; v < kVision.size(); ++v) {
    const double first = oklab(sequential(0), kVision[v])[0], last = oklab(sequential(1), kVision[v])[0];
    CHECK(last - first > 0.55);
    for (int i = 1; i <= 16; ++i) {
      INFO("vision " << v << " step " << i);
      const double step = oklab(sequential(i / 16.0), kVision[v])[0] - oklab(sequential((i - 1) / 16.0), kVision[v])[0];
      CHECK(step > 0.35 * (last - first) / 16);
      CHECK(step < 2 * (last - first) / 16);
    }
  }
  CHECK(hex(sequential(-1)) == hex(sequential(0)));
  CHECK(hex(sequential(2)) == hex(sequential(1)));
}

TEST_CASE("report style: it knows as many categories as there are, for both themes") {
  const std::string css = style(12);
  CHECK(css.find("--c11:" + hex(category(11, false))) != std::string::npos);
  CHECK(css.find("--c11:" + hex(category(11, true))) != std::string::npos);
  CHECK(css.find("--c12:") == std::string::npos);
  CHECK(css.find("http") == std::string::npos);
}
