// Images that need no download: drawn glyphs.
#pragma once
#include "nn/image_data.h"

namespace moegrad {

/// How glyphs are drawn. Each range is uniform.
struct GlyphOptions {
  i64 training = 40'000, validation = 2'000;
  i64 size = 28;                            ///< height and width
  u64 seed = 1;                             ///< of everything that is drawn by chance
  double turn = 0.125;                      ///< rotation by up to this, either way, in turns
  double smallest = 0.45, largest = 0.75;   ///< the glyph's longer side, relative to the image's
  double thinnest = 0.07, thickest = 0.16;  ///< of strokes, relative to half the image
  double noise = 0.06;                      ///< deviation of each pixel, of a brightness in [0, 1]
  i64 distractors = 2;                      ///< at most that many short strokes that mean nothing
};

/// Ten kinds of glyphs, equally often by chance: ring, triangle, square, plus, star, arrow, hook, letter H, zigzag and
/// spiral, bright strokes on a dark ground. Each is sheared, rotated, scaled, somewhere inside the
/// image, as bright as chance has it, among distractors, and under noise.
///   Images    [1, size, size]. Image i of a part is a function of (seed, part, i) alone: the same bytes for any number
///             of threads and on any device; a longer part begins like a shorter one
///   Errors    Error: fewer than one image, a size outside [8, 512], a range that is empty or outside (0, 1], noise or
///             distractors below 0
ImageData glyph_images(const GlyphOptions& options = {});

}  // namespace moegrad
