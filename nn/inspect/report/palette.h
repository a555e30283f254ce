// The colours of a report: of categories (experts, series), of values, and of the page, for light and dark.
#pragma once
#include <span>
#include <string>

#include "core/fwd.h"

namespace moegrad::report {

struct Rgb {
  unsigned char r = 0, g = 0, b = 0;
};

std::string hex(Rgb colour);

/// Lightness in [0, 1] that is even to the eye, chroma, hue in degrees. Where a screen cannot show the colour, the
/// nearest one with less chroma.
///   Source  Bjoern Ottosson, A perceptual color space for image processing (2020), OKLab in polar form
Rgb oklch(double lightness, double chroma, double hue);

/// Contrast from 1 to 21.  Source  Web Content Accessibility Guidelines 2.2, "contrast ratio"
double contrast(Rgb a, Rgb b);

/// The colour of category i >= 0. The first eight are told apart with any colour vision; all have a contrast of at least
/// three to the page, light or dark.
Rgb category(i64 i, bool dark);

/// A value in [0, 1] as a colour, in even steps of lightness from a deep violet to yellow; readable in grey, and with any
/// colour vision.
Rgb sequential(double value);

/// A colour of the page as a CSS variable.
struct ThemeColour {
  const char* name;
  Rgb light, dark;
};
std::span<const ThemeColour> theme();

}  // namespace moegrad::report
