#include "nn/image_glyphs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "core/philox.h"

namespace moegrad {
namespace {

struct Point {
  float x, y;
};
struct Stroke {
  Point from, to;
};
using Strokes = std::vector<Stroke>;

// ---- shapes, within [-1, 1] x [-1, 1]; y points down

Strokes line_through(std::initializer_list<Point> points) {
  Strokes strokes;
  for (const Point* p = points.begin(); p + 1 != points.end(); ++p) strokes.push_back({p[0], p[1]});
  return strokes;
}

Strokes both(Strokes a, const Strokes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The point at this angle, in turns clockwise from the top.
Point around(float turn, float radius) {
  const auto [sine, cosine] = math::sin_cos_turn(turn - std::round(turn));
  return {radius * sine, -radius * cosine};
}

// Corners on a circle, each joined with the one `step` further.
Strokes polygon(int corners, int step, float first = 0) {
  Strokes strokes;
  const auto corner = [&](int i) { return around(first + static_cast<float>(i) / static_cast<float>(corners), 1); };
  for (int i = 0; i < corners; ++i) strokes.push_back({corner(i), corner(i + step)});
  return strokes;
}

Strokes spiral() {
  Strokes strokes;
  constexpr int kPieces = 18;
  constexpr float kTurns = 1.75f;
  const auto point = [&](int i) {
    const float part = static_cast<float>(i) / kPieces;
    return around(part * kTurns, 0.1f + 0.9f * part);
  };
  for (int i = 0; i < kPieces; ++i) strokes.push_back({point(i), point(i + 1)});
  return strokes;
}

struct Glyph {
  const char* name;
  Strokes strokes;
};

const std::vector<Glyph>& glyphs() {
  static const std::vector<Glyph> all{
      {"ring", polygon(14, 1)},
      {"triangle", polygon(3, 1)},
      {"square", polygon(4, 1, 0.125f)},
      {"plus", both(line_through({{0, -1}, {0, 1}}), line_through({{-1, 0}, {1, 0}}))},
      {"star", polygon(5, 2)},
      {"arrow", both(line_through({{0, 1}, {0, -1}}), line_through({{-0.6f, -0.3f}, {0, -1}, {0.6f, -0.3f}}))},
      {"hook", line_through({{-0.6f, -1}, {-0.6f, 1}, {0.7f, 1}})},
      {"H", both(both(line_through({{-0.7f, -1}, {-0.7f, 1}}), line_through({{0.7f, -1}, {0.7f, 1}})),
                 line_through({{-0.7f, 0}, {0.7f, 0}}))},
      {"zigzag", line_through({{-0.8f, -1}, {0.8f, -1}, {-0.8f, 1}, {0.8f, 1}})},
      {"spiral", spiral()},
  };
  return all;
}

// ---- chance

constexpr u32 kShapeDraw = 0x61F00000, kNoiseDraw = 0x61F10000;  // far from those that a Random of the same seed has

// The numbers of one image, one after the other.
class Chance {
 public:
  Chance(u64 seed, u32 image) : seed_(seed), image_(image) {}
  float between(double low, double high) {
    return static_cast<float>(low + (high - low) * random::uniform<double>(seed_, kShapeDraw, image_, used_++));
  }
  i64 below(i64 n) { return random::below(n, seed_, kShapeDraw + 1, image_, used_++); }

 private:
  u64 seed_;
  u32 image_;
  i64 used_ = 0;
};

// ---- drawing

// Brightness of an image: strokes cover what was there as far as they are brighter.
class Canvas {
 public:
  explicit Canvas(i64 size) : size_(size), value_(static_cast<std::size_t>(size * size), 0.0f) {}

  // Coordinates in pixels; the edge of a stroke is one pixel wide.
  void draw(const Strokes& strokes, float half_width, float brightness) {
    nearest_.assign(value_.size(), 1e9f);
    for (const Stroke& s : strokes) measure(s);
    for (std::size_t i = 0; i < value_.size(); ++i) {
      const float cover = std::clamp(half_width + 0.5f - std::sqrt(nearest_[i]), 0.0f, 1.0f);
      value_[i] = std::max(value_[i], cover * brightness);
    }
  }

  void write(unsigned char* pixels, float noise, u64 seed, u32 image) const {
    for (std::size_t i = 0; i < value_.size(); i += 4) {
      const random::Block<float> normal = random::normal_block<float>(random::philox(seed, kNoiseDraw, image, i / 4));
      for (std::size_t k = i; k < std::min(i + 4, value_.size()); ++k) {
        const float v = std::clamp(0.15f + 0.7f * value_[k] + noise * normal.value[k - i], 0.0f, 1.0f);
        pixels[k] = static_cast<unsigned char>(v * 255 + 0.5f);
      }
    }
  }

 private:
  // Squared distance of each pixel's middle to the nearest stroke so far.
  void measure(const Stroke& s) {
    const float dx = s.to.x - s.from.x, dy = s.to.y - s.from.y;
    const float scale = 1 / std::max(dx * dx + dy * dy, 1e-12f);
    for (i64 row = 0; row < size_; ++row) {
      float* nearest = nearest_.data() + row * size_;
      const float y = static_cast<float>(row) + 0.5f - s.from.y;
      for (i64 column = 0; column < size_; ++column) {
        const float x = static_cast<float>(static_cast<i32>(column)) + 0.5f - s.from.x;
        const float along = std::min(std::max((x * dx + y * dy) * scale, 0.0f), 1.0f);
        const float ex = x - along * dx, ey = y - along * dy;
        nearest[column] = std::min(nearest[column], ex * ex + ey * ey);
      }
    }
  }

  i64 size_;
  std::vector<float> value_, nearest_;
};

float extent(const Strokes& strokes) {
  float most = 0;
  for (const Stroke& s : strokes)
    for (const Point p : {s.from, s.to}) most = std::max({most, std::abs(p.x), std::abs(p.y)});
  return most;
}

template <class F> Strokes moved(Strokes strokes, const F& f) {
  for (Stroke& s : strokes) s = {f(s.from), f(s.to)};
  return strokes;
}

// Shear and rotation by chance, then a size, then a place where all of it is inside the image, its strokes' edges too.
Strokes placed(const Strokes& strokes, const GlyphOptions& o, Chance& chance) {
  const float half = static_cast<float>(o.size) / 2, inside = half * (1 - static_cast<float>(o.thickest) / 2) - 1;
  const float shear = chance.between(-0.25, 0.25), squeeze = chance.between(0.8, 1);
  const auto [sine, cosine] = math::sin_cos_turn(chance.between(-o.turn, o.turn));
  const Strokes turned = moved(strokes, [&](Point p) {
    const float x = squeeze * (p.x + shear * p.y);
    return Point{cosine * x - sine * p.y, sine * x + cosine * p.y};
  });
  const float radius = std::min(chance.between(o.smallest, o.largest) * half, inside);
  const float scale = radius / extent(turned), room = inside - radius;
  const float x = half + chance.between(-room, room), y = half + chance.between(-room, room);
  return moved(turned, [&](Point p) { return Point{x + scale * p.x, y + scale * p.y}; });
}

Strokes distractor(const GlyphOptions& o, Chance& chance) {
  const double size = static_cast<double>(o.size);
  const Point from{chance.between(0, size), chance.between(0, size)};
  const float turn = chance.between(-0.5, 0.5);
  const Point step = around(turn, chance.between(0.08, 0.2) * static_cast<float>(size));
  return {{from, {from.x + step.x, from.y + step.y}}};
}

void draw_glyph(const GlyphOptions& o, u32 image, unsigned char* pixels, i32& label) {
  Chance chance(o.seed, image);
  Canvas canvas(o.size);
  const float half = static_cast<float>(o.size) / 2;
  const auto half_width = [&] { return chance.between(o.thinnest, o.thickest) * half / 2; };
  label = static_cast<i32>(chance.below(static_cast<i64>(glyphs().size())));
  const Strokes strokes = placed(glyphs()[static_cast<std::size_t>(label)].strokes, o, chance);
  const float width = half_width();
  canvas.draw(strokes, width, chance.between(0.55, 1));
  for (i64 left = chance.below(o.distractors + 1); left > 0; --left) {
    const Strokes stroke = distractor(o, chance);
    const float thickness = half_width();
    canvas.draw(stroke, thickness, chance.between(0.3, 0.8));
  }
  canvas.write(pixels, static_cast<float>(o.noise), o.seed, image);
}

// Even image numbers are for training, odd ones for validation.
ImageSet draw_part(const GlyphOptions& o, i64 count, u32 part) {
  ImageSet set{.channels = 1, .height = o.size, .width = o.size};
  set.labels.resize(static_cast<std::size_t>(count));
  set.pixels.resize(static_cast<std::size_t>(count * set.image_size()));
  parallel_for(count, 16, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; ++i)
      draw_glyph(o, static_cast<u32>(2 * i) + part, set.pixels.data() + i * set.image_size(),
                 set.labels[static_cast<std::size_t>(i)]);
  });
  return set;
}

void check(const GlyphOptions& o) {
  const auto in_order = [](double low, double high) { return low > 0 && low <= high && high <= 1; };
  constexpr i64 kMost = i64{1} << 24;
  if (o.training < 1 || o.validation < 1 || o.training > kMost || o.validation > kMost)
    throw Error(fmt::format("glyph images: each part must have 1 to {} images; got {} and {}", kMost, o.training,
                            o.validation));
  if (o.size < 8 || o.size > 512) throw Error(fmt::format("glyph images: size must be in [8, 512]; got {}", o.size));
  if (!in_order(o.smallest, o.largest) || !in_order(o.thinnest, o.thickest))
    throw Error(fmt::format("glyph images: sizes and strokes must be ranges in (0, 1]; got [{}, {}] and [{}, {}]",
                            o.smallest, o.largest, o.thinnest, o.thickest));
  if (!(o.noise >= 0 && o.noise <= 10) || !(o.turn >= 0 && o.turn <= 0.5) || o.distractors < 0 || o.distractors > 1000)
    throw Error(fmt::format(
        "glyph images: noise must be in [0, 10], turn in [0, 0.5], distractors in [0, 1000]; got {}, {} and {}",
        o.noise, o.turn, o.distractors));
}

}  // namespace

ImageData glyph_images(const GlyphOptions& options) {
  check(options);
  ImageData data;
  for (const Glyph& glyph : glyphs()) data.classes.push_back(glyph.name);
  data.training = draw_part(options, options.training, 0);
  data.validation = draw_part(options, options.validation, 1);
  return data;
}

}  // namespace moegrad
