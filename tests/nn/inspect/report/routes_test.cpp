#include "nn/inspect/report/routes.h"

#include <doctest/doctest.h>

#include "core/errors.h"
#include "nn/inspect/report/depth_map.h"
#include "tests/nn/inspect/report/markup.h"

using namespace moegrad;
using namespace moegrad::report;
using moegrad::test::count;
using moegrad::test::malformed;

namespace {

RoutedText text() {
  return {.title = "sample",
          .characters = {"<", "\n", " ", "\xff"},
          .layers = {{"blocks.0", 4, {0, 3, -1, 1}, {1, 0.5, 0, 0.1}, {"a", "b", "c", "</script>"}},
                     {"blocks.1", 2, {1, 1, 1, 1}, {1, 1, 1, 1}, {}}}};
}

RoutedImages images() {
  return {.title = "pictures",
          .pictures = {{"a & b", 2, 2, std::vector<unsigned char>(12, 9)}},
          .rows = 1,
          .columns = 2,
          .layers = {{"blocks.0", 4, {0, 3}, {1, 0.5}, {}}}};
}

}  // namespace

TEST_CASE("routed text: every character has the colour of its expert in the first layer") {
  const Drawn d = draw(text());
  CHECK(malformed(d.body) == "");
  CHECK(d.points == 8);
  CHECK(d.categories == 4);
  CHECK(d.wide);
  CHECK(d.body.find("<b class=\"e0 w4\">&lt;</b><b class=\"e3 w2\">\u21B5</b><br><b class=\"none\"> </b>"
                    "<b class=\"e1 w0\">\uFFFD</b>") != std::string::npos);
}

TEST_CASE("routed text: a button for every layer and expert, and the data of all layers") {
  const Drawn d = draw(text());
  CHECK(count(d.body, "data-layer=") == 2);
  CHECK(count(d.body, "aria-pressed=\"true\"") == 1);
  CHECK(count(d.body, "data-expert=") == 4);
  CHECK(d.data.find("\"e\":[0,3,-1,1]") != std::string::npos);
  CHECK(d.data.find("\"w\":[1,0.5,0,0.1]") != std::string::npos);
  CHECK(d.data.find("\\u003c/script>") != std::string::npos);
  RoutedText one = text();
  one.layers.pop_back();
  CHECK(count(draw(one).body, "data-layer=") == 0);
}

TEST_CASE("routed images: a picture under its patches") {
  const Drawn d = draw(images());
  CHECK(malformed(d.body) == "");
  CHECK(d.points == 2);
  CHECK(count(d.body, "data:image/png;base64,") == 1);
  CHECK(d.body.find("--nx:2;--ny:1\"><b class=\"e0 w4\"></b><b class=\"e3 w2\"></b>") != std::string::npos);
  CHECK(d.body.find("a &amp; b") != std::string::npos);
}

TEST_CASE("routes: nothing to show has no body; pictures without layers are shown alone") {
  CHECK(draw(RoutedText{}).body.empty());
  CHECK(draw(RoutedText{.characters = {"a"}}).body.empty());
  CHECK(draw(RoutedImages{}).body.empty());
  CHECK(draw(DepthMap{}).body.empty());
  RoutedImages alone = images();
  alone.layers.clear();
  CHECK(draw(alone).points == 1);
  CHECK(malformed(draw(alone).body) == "");
}

TEST_CASE("routes: lists that do not fit are an error with the title") {
  RoutedText t = text();
  t.layers[1].weight.pop_back();
  CHECK_THROWS_WITH_AS(draw(t),
                       "routed text 'sample': every layer must have an expert, a weight and a detail for each of its "
                       "things; got 4 things and layer 'blocks.1' with 4, 3 and 0",
                       ShapeError);
  t = text();
  t.layers[0].expert[2] = 4;
  CHECK_THROWS_WITH_AS(
      draw(t), "routed text 'sample': experts must be in [-1, experts); got 4 of 4 in layer 'blocks.0'", ShapeError);
  RoutedImages i = images();
  i.pictures[0].rgb.pop_back();
  CHECK_THROWS_WITH_AS(
      draw(i), "routed images 'pictures': a picture must have height x width x 3 bytes; got 2 x 2 with 11 in 'a & b'",
      ShapeError);
  CHECK_THROWS_WITH_AS(draw(DepthMap{.title = "d", .tokens = {"a"}, .layers = {"0", "1"}, .gates = {1}}),
                       "depth map 'd': there must be a gate for every layer and token; got 1 for 2 x 1", ShapeError);
}

TEST_CASE("depth map: the first layer is at the bottom") {
  const Drawn d = draw(
      DepthMap{.title = "d", .tokens = {"a", "\n"}, .layers = {"low", "high"}, .gates = {0.1, 0.2, kNoValue, 0.4}});
  CHECK(malformed(d.body) == "");
  CHECK(d.points == 4);
  CHECK(d.body.find("<span>high</span><span>low</span>") != std::string::npos);
  CHECK(d.data.find("\"v\":[null,0.4,0.1,0.2]") != std::string::npos);
}
