#include "nn/vision/patch_embed.h"

#include <fmt/format.h>

#include "ops/conv2d.h"

namespace moegrad {
namespace {

std::string text(Size2 s) { return fmt::format("{} x {}", s.rows, s.columns); }

void check(const PatchEmbed::Options& o) {
  if (o.patch.rows < 1 || o.patch.columns < 1 || o.image.rows < o.patch.rows || o.image.columns < o.patch.columns)
    throw Error(
        fmt::format("PatchEmbed: an image must hold a patch, and a patch a pixel; got an image of {} and patches of {}",
                    text(o.image), text(o.patch)));
  if (o.channels < 1) throw Error(fmt::format("PatchEmbed: channels must be >= 1; got {}", o.channels));
}

}  // namespace

PatchEmbed::PatchEmbed(i64 width, Options o, Init& init) : options(o) {
  check(o);
  const i64 fan_in = o.channels * o.patch.rows * o.patch.columns;
  constexpr double kGain = 0.57735026918962576;  // 1/sqrt(3): within +-1/sqrt(fan_in)
  weight = init.kaiming_uniform({width, o.channels, o.patch.rows, o.patch.columns}, fan_in, kGain);
  if (o.bias) bias = init.kaiming_uniform({width}, fan_in, kGain);
}

Tensor PatchEmbed::forward(const Tensor& x, Context&) const {
  if (x.rank() != 4 || x.dim(1) != options.channels || x.dim(2) != options.image.rows ||
      x.dim(3) != options.image.columns)
    throw ShapeError(fmt::format("PatchEmbed: x must be [B, {}, {}, {}]; got {}", options.channels, options.image.rows,
                                 options.image.columns, to_string(x.shape())));
  return patch_embed(x, weight, bias);
}

void PatchEmbed::members(Members& m) {
  m.parameter("proj.weight", weight);
  m.parameter("proj.bias", bias);
}

}  // namespace moegrad
