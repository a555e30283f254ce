#include "nn/inspect/layered_layout.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/errors.h"

using namespace moegrad;

namespace {

struct Rectangle {
  double left, right, top, bottom;
};
Rectangle of(const LayoutBox& b) {
  return {b.x - b.width / 2, b.x + b.width / 2, b.y - b.height / 2, b.y + b.height / 2};
}
Rectangle text_of(const LayoutLink& l) {
  return {l.text.x - l.width / 2, l.text.x + l.width / 2, l.text.y - 6, l.text.y + 6};
}

bool overlap(const Rectangle& a, const Rectangle& b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

// Does a straight piece down from p to q go through the rectangle?
bool hits(const LayoutPoint& p, const LayoutPoint& q, const Rectangle& r) {
  return p.x > r.left && p.x < r.right && p.y < r.bottom && q.y > r.top;
}

std::vector<LayoutBox> boxes_of(std::size_t count) {
  std::vector<LayoutBox> boxes;
  for (std::size_t i = 0; i < count; ++i)
    boxes.push_back({.width = 40 + 10 * static_cast<double>(i % 7), .height = 24 + 16 * static_cast<double>(i % 3)});
  return boxes;
}

std::vector<LayoutLink> links_of(const std::vector<std::pair<i64, i64>>& pairs) {
  std::vector<LayoutLink> links;
  for (const auto& [from, to] : pairs) links.push_back({.from = from, .to = to, .width = 60, .text = {}});
  return links;
}

void check_layout(const Layout& y) {
  std::vector<Rectangle> things;
  for (const LayoutBox& b : y.boxes) things.push_back(of(b));
  for (const LayoutLink& l : y.links) things.push_back(text_of(l));
  i64 overlaps = 0, hit = 0, outside = 0;
  for (std::size_t i = 0; i < things.size(); ++i) {
    outside += things[i].left < 0 || things[i].right > y.width || things[i].top < 0 || things[i].bottom > y.height;
    for (std::size_t j = 0; j < i; ++j) overlaps += overlap(things[i], things[j]);
  }
  for (const LayoutLink& l : y.links) {
    REQUIRE(l.way.size() >= 6);
    for (std::size_t i = 2; i + 2 < l.way.size(); i += 2) {  // between its ends
      CHECK(l.way[i].x == l.way[i + 1].x);
      for (const LayoutBox& b : y.boxes) hit += hits(l.way[i], l.way[i + 1], of(b));
    }
    for (std::size_t i = 1; i < l.way.size(); ++i) CHECK(l.way[i - 1].y <= l.way[i].y);
    const Rectangle from = of(y.boxes[static_cast<std::size_t>(l.from)]),
                    to = of(y.boxes[static_cast<std::size_t>(l.to)]);
    CHECK(l.way.front().y == from.bottom);
    CHECK(l.way.back().y == to.top);
    CHECK(l.way.back().x > to.left);
    CHECK(l.way.back().x < to.right);
  }
  double left = y.width, right = 0;  // of everything, text and passing arrows too
  for (const Rectangle& r : things) left = std::min(left, r.left), right = std::max(right, r.right);
  for (const LayoutLink& l : y.links)
    for (const LayoutPoint& p : l.way) left = std::min(left, p.x), right = std::max(right, p.x);
  CHECK(left == doctest::Approx(12));  // the margin, and no more
  CHECK(right == doctest::Approx(y.width - 12));
  CHECK(overlaps == 0);
  CHECK(hit == 0);
  CHECK(outside == 0);
}

}  // namespace

TEST_CASE("layered layout: a chain stands in a line, branches beside each other, in the layer of their longest path") {
  const Layout chain = layered_layout(boxes_of(3), links_of({{0, 1}, {1, 2}}));
  check_layout(chain);
  CHECK(chain.boxes[0].x == doctest::Approx(chain.boxes[2].x));
  // 0 feeds 1 and 3; 1 feeds 2, 2 feeds 3; 4 feeds 3 alone and stands right above it
  const Layout y = layered_layout(boxes_of(5), links_of({{0, 1}, {1, 2}, {2, 3}, {0, 3}, {4, 3}}));
  check_layout(y);
  CHECK(y.boxes[4].y == doctest::Approx(y.boxes[2].y));
  CHECK(y.boxes[0].y < y.boxes[1].y);
  CHECK(y.links[3].way.size() == 4 + 2 * 5);  // past two boxes and three layers of texts
}

TEST_CASE("layered layout: two links between the same boxes, boxes without links, nothing at all") {
  const Layout twice = layered_layout(boxes_of(3), links_of({{0, 1}, {0, 1}}));
  check_layout(twice);
  CHECK(twice.links[0].way.back().x != twice.links[1].way.back().x);
  CHECK(layered_layout({}, {}).boxes.empty());
}

TEST_CASE("layered layout: nothing covers anything in random graphs, wherever arrows pass") {
  for (u64 seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    std::vector<std::pair<i64, i64>> pairs;
    const i64 count = 12 + static_cast<i64>(seed);
    for (i64 to = 1; to < count; ++to)
      for (int k = 0; k < 2; ++k) {
        const u64 r = (static_cast<u64>(to) * 7919 + seed * 104729 + static_cast<u64>(k) * 31) * 2654435761u >> 7;
        pairs.emplace_back(static_cast<i64>(r % static_cast<u64>(to)), to);
      }
    check_layout(layered_layout(boxes_of(static_cast<std::size_t>(count)), links_of(pairs)));
  }
}

TEST_CASE("layered layout: arrows of a plane graph do not cross") {
  // two chains side by side, given in alternation
  const Layout y =
      layered_layout(boxes_of(9), links_of({{0, 3}, {1, 2}, {2, 5}, {3, 4}, {4, 7}, {5, 6}, {6, 8}, {7, 8}}));
  check_layout(y);
  const double side = y.boxes[0].x - y.boxes[1].x;
  CHECK((y.boxes[3].x - y.boxes[2].x) * side > 0);
  CHECK((y.boxes[4].x - y.boxes[5].x) * side > 0);
  CHECK((y.boxes[7].x - y.boxes[6].x) * side > 0);
}

TEST_CASE("layered layout: a circle is an error") {
  CHECK_THROWS_WITH_AS(layered_layout(boxes_of(2), links_of({{0, 1}, {1, 0}})),
                       "layered_layout: links must not go in a circle; got links that do", Error);
}
