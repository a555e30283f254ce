#include "nn/inspect/routed_pictures.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

// weight [G N E]; a token is with every expert that has a weight for it.
RoutingMap map_of(const std::string& layer, i64 groups, i64 experts, const std::vector<double>& weight) {
  RoutingMap m{.layer = layer, .groups = groups, .experts = experts};
  m.tokens = static_cast<i64>(weight.size()) / groups / experts;
  m.weight = weight;
  for (const double w : weight) m.slots.push_back(w != 0);
  return m;
}

}  // namespace

TEST_CASE("routed text: the strongest expert of every character, and all of them in words, layer by layer") {
  const std::vector<RoutingMap> maps{map_of("a", 1, 3, {0, 0.25, 0.75, 1, 0, 0, 0, 0, 0}),
                                     map_of("part", 1, 3, {1, 0, 0}),       // not these tokens
                                     map_of("depth", 1, 1, {0.5, 0, 0.5}),  // nothing to choose
                                     map_of("", 3, 2, {0, -2, 1.5, 1, 0.5, 0.5})};
  const RoutedText text = routed_text("sample", {"x", "y", "z"}, maps);
  CHECK(text.characters.size() == 3);
  REQUIRE(text.layers.size() == 2);
  CHECK(text.layers[0].layer == "a");
  CHECK(text.layers[0].experts == 3);
  CHECK(text.layers[0].expert == std::vector<i64>{2, 0, -1});
  CHECK(text.layers[0].weight == std::vector<double>{0.75, 1, 0});
  CHECK(text.layers[0].detail ==
        std::vector<std::string>{"expert 2: 0.750, expert 1: 0.250", "expert 0: 1.000", "no expert"});
  CHECK(text.layers[1].layer == "mixture");
  CHECK(text.layers[1].expert == std::vector<i64>{1, 0, 0});
  CHECK(text.layers[1].weight == std::vector<double>{0, 1, 0.5});  // gates that are logits are cut off
  CHECK(text.layers[1].detail[1] == "expert 0: 1.500, expert 1: 1.000");
  const RoutedText many = routed_text("", {"x"}, {map_of("a", 1, 10, std::vector<double>(10, 0.1))});
  CHECK(many.layers[0].detail[0].ends_with("expert 7: 0.100, 2 more"));
}

TEST_CASE("routed text: of a language model, every layer and character") {
  Random random(1);
  Init init(random);
  LanguageModel model(
      {.vocabulary = 9, .context = 6, .width = 8, .layers = 2, .heads = 2},
      [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .k = 2, .hidden = 4}, i); }, init);
  RoutingMaps maps;
  Context context{.watch = &maps};
  model.forward(random_integers({1, 6}, 0, 9, random.next()), context);
  const RoutedText text = routed_text("sample", {"a", "b", "c", "d", "e", "f"}, maps.all());
  REQUIRE(text.layers.size() == 2);
  for (i64 n = 0; n < 6; ++n)
    CHECK(text.layers[1].expert[static_cast<std::size_t>(n)] == maps.of("blocks.1.feed_forward").strongest(0, n));
}

TEST_CASE("image through experts: patches of all images and layers, by hand; colours span black to white") {
  Tensor images = tensor({{{{0.0f, 1.0f}, {2.0f, 4.0f}}}, {{{-1.0f, -1.0f}, {-1.0f, -1.0f}}}});  // [2, 1, 2, 2]
  // a class token and two patches per image; the whole batch as one group
  const auto maps = {map_of("a", 1, 2, {1, 0, 0.5, 0, 0, 0.25, 1, 0, 0, 0, 0, 1}), map_of("other", 1, 2, {1, 0})};
  const PatchGrid grid{.rows = 2, .columns = 1, .first = 1};
  const RoutedImages figure = routed_images("seen", images, grid, maps, {.captions = {"cat", "dog"}});
  REQUIRE(figure.pictures.size() == 2);
  CHECK(figure.pictures[0].caption == "cat");
  CHECK(figure.pictures[0].rgb == std::vector<unsigned char>{0, 0, 0, 64, 64, 64, 128, 128, 128, 255, 255, 255});
  CHECK(figure.pictures[1].rgb == std::vector<unsigned char>(12, 128));
  CHECK(figure.rows == 2);
  REQUIRE(figure.layers.size() == 1);
  CHECK(figure.layers[0].expert == std::vector<i64>{0, 1, -1, 1});
  CHECK(figure.layers[0].weight == std::vector<double>{0.5, 0.25, 0, 1});
  const PictureOptions fixed{.black = -1, .white = 1};
  CHECK(routed_images("", images, grid, maps, fixed).pictures[0].rgb[0] == 128);
  CHECK(routed_images("", images, grid, maps, fixed).pictures[0].rgb[9] == 255);
  // red, green and blue stand one after the other in a tensor, side by side in a picture
  const Tensor colours = reshape(tensor({0.0f, 1.0f, 0.0f, 0.0f, 1.0f, 0.0f}), {1, 3, 1, 2});
  CHECK(routed_images("", colours, {}, {}).pictures[0].rgb == std::vector<unsigned char>{0, 0, 255, 255, 0, 0});
}

TEST_CASE("image through experts: a vision transformer, soft or sparse, with a class token") {
  Random random(2);
  Init init(random);
  const auto sparse = [](i64 width, i64 hidden, Init& i) {
    return make_moe(width, {.experts = 4, .k = 1, .hidden = hidden}, i);
  };
  for (const bool soft : {true, false}) {
    SoftMoEVisionTransformer::Options o{.num_experts = 4, .img_size = 8, .patch_size = 4, .num_classes = 3};
    o.embed_dim = 8, o.depth = 4, o.num_heads = 2;
    if (!soft) o.moe_layer_index = std::vector<i64>{0};  // its experts are mixtures of slots, which are not shown
    if (!soft) o.mlp_layer = sparse;
    const SoftMoEVisionTransformer model(o, init);
    const Tensor images = random_normal({3, 3, 8, 8}, 0, 1, random.next());
    const RoutedImages figure = image_through_experts(model, images, {.rows = 2, .columns = 2, .first = 1});
    REQUIRE(figure.layers.size() == (soft ? 2 : 4));
    CHECK(figure.layers.back().layer == "blocks.3.mlp");
    CHECK(figure.layers[0].expert.size() == 12);
    CHECK(figure.pictures[2].rgb.size() == 192);
    RoutingMaps maps;
    Context context{.watch = &maps};
    model.forward(images, context);
    const RoutingMap& m = maps.of("blocks.3.mlp");
    for (i64 i = 0; i < 12; ++i) {
      const i64 token = i / 4 * 5 + 1 + i % 4;  // of all images, class tokens counted
      CHECK(figure.layers.back().expert[static_cast<std::size_t>(i)] ==
            m.strongest(token / m.tokens, token % m.tokens));
    }
  }
}

TEST_CASE("image through experts: images, grids and captions must fit") {
  CHECK_THROWS_WITH_AS(routed_images("", zeros({2, 2, 4, 4}), {}, {}),
                       "image_through_experts: images must be [B, 1 or 3, H, W]; got f32 [2, 2, 4, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(routed_images("", zeros({2, 4, 4}), {}, {}),
                       "image_through_experts: images must be [B, 1 or 3, H, W]; got f32 [2, 4, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(routed_images("", zeros({2, 1, 4, 4}), {.rows = 0}, {}),
                       "image_through_experts: a grid must have patches; got 0 rows, 1 columns behind 0 tokens", Error);
  CHECK_THROWS_WITH_AS(routed_images("", zeros({2, 1, 4, 4}), {}, {}, {.captions = {"one"}}),
                       "image_through_experts: every image must have a caption, or none; got 1 for 2 images", Error);
  CHECK(routed_images("", zeros({0, 1, 4, 4}), {}, {}).pictures.empty());
}

TEST_CASE("depth map: gates of the tokens that a layer processes, nothing for those that go around") {
  Random random(3);
  Init init(random);
  const MoDLayer mod(4, std::make_unique<FeedForward>(4, FeedForward::Options{.hidden = 3}, init),
                     {.capacity = {.slots = 2}}, init);
  RoutingMaps maps;
  Context context{.watch = &maps};
  mod.forward(random_normal({1, 5, 4}, 0, 1, random.next()), context);
  std::vector<RoutingMap> all = maps.all();
  all.push_back(map_of("mixture", 1, 2, {1, 0, 1, 0, 1, 0, 1, 0, 1, 0}));
  const DepthMap figure = depth_map("depth", {"a", "b", "c", "d", "e"}, all);
  REQUIRE(figure.layers.size() == 1);
  i64 processed = 0;
  for (i64 n = 0; n < 5; ++n) {
    const double gate = figure.gates[static_cast<std::size_t>(n)];
    CHECK(std::isnan(gate) == (maps.all()[0].strongest(0, n) < 0));
    if (std::isnan(gate)) continue;
    ++processed;
    CHECK(gate == maps.all()[0].weight_of(0, n, 0));
  }
  CHECK(processed == 2);
}
