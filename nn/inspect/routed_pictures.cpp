#include "nn/inspect/routed_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "core/autograd.h"

namespace moegrad {
namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

constexpr i64 kListed = 8;  // experts of a token that its text lists

// "expert 3: 0.710, expert 1: 0.290", the largest weight first.
std::string detail_of(const RoutingMap& map, i64 group, i64 token) {
  std::vector<i64> experts;
  for (i64 e = 0; e < map.experts; ++e)
    if (map.slots[at((group * map.tokens + token) * map.experts + e)] > 0) experts.push_back(e);
  std::stable_sort(experts.begin(), experts.end(),
                   [&](i64 a, i64 b) { return map.weight_of(group, token, a) > map.weight_of(group, token, b); });
  if (experts.empty()) return "no expert";
  const i64 listed = std::min(kListed, static_cast<i64>(experts.size()));
  std::string text;
  for (i64 i = 0; i < listed; ++i)
    text += fmt::format("{}expert {}: {:.3f}", i > 0 ? ", " : "", experts[at(i)],
                        map.weight_of(group, token, experts[at(i)]));
  const i64 more = static_cast<i64>(experts.size()) - listed;
  return more > 0 ? fmt::format("{}, {} more", text, more) : text;
}

// Token i of all groups, one after the other.
void add_token(const RoutingMap& map, i64 i, LayerRoutes& routes) {
  const i64 group = i / map.tokens, token = i % map.tokens, best = map.strongest(group, token);
  routes.expert.push_back(best);
  routes.weight.push_back(best < 0 ? 0 : std::clamp(map.weight_of(group, token, best), 0.0, 1.0));
  routes.detail.push_back(detail_of(map, group, token));
}

bool fits(const RoutingMap& map, i64 tokens) { return map.experts > 1 && map.groups * map.tokens == tokens; }

LayerRoutes routes_of(const RoutingMap& map) {
  LayerRoutes routes;
  routes.layer = shown_layer(map.layer);
  routes.experts = map.experts;
  return routes;
}

// Values between black and white as bytes; what lies beyond is cut off, and NaN is black.
unsigned char byte_of(double value, double black, double white) {
  const double part = white > black ? (value - black) / (white - black) : 0.5;
  return part > 0 ? static_cast<unsigned char>(std::lround(255 * std::min(part, 1.0))) : 0;
}

RoutedImages::Picture picture_of(std::span<const double> image, i64 channels, i64 height, i64 width,
                                 const PictureOptions& options) {
  RoutedImages::Picture p;
  p.height = height, p.width = width;
  if (image.empty()) return p;
  const auto [least, most] = std::minmax_element(image.begin(), image.end());
  const double black = options.black.value_or(*least), white = options.white.value_or(*most);
  const i64 pixels = height * width;
  for (i64 i = 0; i < pixels; ++i)
    for (i64 c = 0; c < 3; ++c) p.rgb.push_back(byte_of(image[at((channels == 3 ? c : 0) * pixels + i)], black, white));
  return p;
}

void check_images(const Tensor& images, const PatchGrid& grid, const PictureOptions& options) {
  if (images.rank() != 4 || (images.dim(1) != 1 && images.dim(1) != 3))
    throw ShapeError(fmt::format("image_through_experts: images must be [B, 1 or 3, H, W]; got {}", describe(images)));
  if (grid.rows < 1 || grid.columns < 1 || grid.first < 0)
    throw Error(fmt::format("image_through_experts: a grid must have patches; got {} rows, {} columns behind {} tokens",
                            grid.rows, grid.columns, grid.first));
  if (!options.captions.empty() && static_cast<i64>(options.captions.size()) != images.dim(0))
    throw Error(fmt::format("image_through_experts: every image must have a caption, or none; got {} for {} images",
                            options.captions.size(), images.dim(0)));
}

}  // namespace

RoutedText routed_text(const std::string& title, const std::vector<std::string>& characters,
                       const std::vector<RoutingMap>& maps) {
  RoutedText text;
  text.title = title;
  text.characters = characters;
  const auto tokens = static_cast<i64>(characters.size());
  for (const RoutingMap& map : maps) {
    if (!fits(map, tokens)) continue;
    text.layers.push_back(routes_of(map));
    for (i64 i = 0; i < tokens; ++i) add_token(map, i, text.layers.back());
  }
  return text;
}

RoutedImages routed_images(const std::string& title, const Tensor& images, const PatchGrid& grid,
                           const std::vector<RoutingMap>& maps, const PictureOptions& options) {
  check_images(images, grid, options);
  const i64 B = images.dim(0), C = images.dim(1), H = images.dim(2), W = images.dim(3);
  RoutedImages figure;
  figure.title = title;
  figure.rows = grid.rows, figure.columns = grid.columns;
  const std::vector<double> values = images.detach().to_vector<double>();
  for (i64 b = 0; b < B; ++b) {
    figure.pictures.push_back(
        picture_of(std::span(values).subspan(at(b * C * H * W), at(C * H * W)), C, H, W, options));
    if (!options.captions.empty()) figure.pictures.back().caption = options.captions[at(b)];
  }
  const i64 patches = grid.rows * grid.columns, tokens = grid.first + patches;
  for (const RoutingMap& map : maps) {
    if (!fits(map, B * tokens)) continue;
    figure.layers.push_back(routes_of(map));
    for (i64 b = 0; b < B; ++b)
      for (i64 p = 0; p < patches; ++p) add_token(map, b * tokens + grid.first + p, figure.layers.back());
  }
  return figure;
}

RoutedImages image_through_experts(const Layer& model, const Tensor& images, const PatchGrid& grid,
                                   const PictureOptions& options) {
  check_images(images, grid, options);
  no_grad guard;
  RoutingMaps maps;
  Context context{.watch = &maps};
  model.forward(images, context);
  return routed_images("Images through experts", images, grid, maps.all(), options);
}

DepthMap depth_map(const std::string& title, const std::vector<std::string>& tokens,
                   const std::vector<RoutingMap>& maps) {
  DepthMap figure;
  figure.title = title;
  figure.tokens = tokens;
  const auto count = static_cast<i64>(tokens.size());
  for (const RoutingMap& map : maps) {
    if (map.experts != 1 || map.soft || map.groups * map.tokens != count) continue;
    figure.layers.push_back(shown_layer(map.layer));
    for (std::size_t i = 0; i < map.weight.size(); ++i)  // [G N 1]
      figure.gates.push_back(map.slots[i] > 0 ? map.weight[i] : kNoValue);
  }
  return figure;
}

}  // namespace moegrad
