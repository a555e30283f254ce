#include "core/shape.h"

#include <doctest/doctest.h>

#include <vector>

#include "core/errors.h"

using namespace moegrad;

TEST_CASE("Shape: a list of up to 12 sizes that behaves as one") {
  Shape s{2, 3};
  CHECK(s.rank() == 2);
  CHECK(s.elements() == 6);
  s.push_back(5);
  s.insert(1, 7);
  CHECK(s == Shape{2, 7, 3, 5});
  s.insert(4, 1);
  CHECK(s == Shape{2, 7, 3, 5, 1});
  s.erase(0);
  CHECK(s == Shape{7, 3, 5, 1});
  s.pop_back();
  CHECK((s.back() == 5 && s.contains(3) && !s.contains(2) && s.find(5) == 2 && s.find(9) == -1));
  s.resize(4, 8);
  CHECK(s == Shape{7, 3, 5, 8});
  const Shape copy = s;
  s[0] = 0;
  CHECK((copy[0] == 7 && s.elements() == 0));
  CHECK(Shape{}.elements() == 1);
  CHECK((Shape{2, 3} != Shape{2} && Shape{} == Shape{}));
  const std::vector<i64> sizes{4, 5};
  CHECK(Shape(sizes.begin(), sizes.end()) == Shape{4, 5});
}

TEST_CASE("Shape: more than 12 axes are an error, however they come about") {
  const char* text = "shape: rank must be at most 12; got 13";
  Shape s(12, 1);
  CHECK_THROWS_WITH_AS(s.push_back(1), text, ShapeError);
  CHECK_THROWS_WITH_AS(s.insert(0, 1), text, ShapeError);
  CHECK_THROWS_WITH_AS(s.resize(13), text, ShapeError);
  CHECK_THROWS_WITH_AS(Shape(13, 1), text, ShapeError);
  CHECK_THROWS_WITH_AS((Shape{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}), text, ShapeError);
  const std::vector<i64> sizes(13, 1);
  CHECK_THROWS_WITH_AS(Shape(sizes.begin(), sizes.end()), text, ShapeError);
  CHECK(s == Shape(12, 1));
  CHECK_THROWS_WITH_AS(Shape(-1, 1), "shape: rank must be at most 12; got -1", ShapeError);
}

TEST_CASE("blocks_around: an axis between those before and those behind it") {
  const auto sizes = [](const Shape& shape, int axis) {
    const AxisBlocks b = blocks_around(shape, axis);
    return Shape{b.outer, b.count, b.inner};
  };
  CHECK(sizes({2, 3, 4, 5}, 0) == Shape{1, 2, 60});
  CHECK(sizes({2, 3, 4, 5}, 2) == Shape{6, 4, 5});
  CHECK(sizes({2, 3, 4, 5}, 3) == Shape{24, 5, 1});
  CHECK(sizes({7}, 0) == Shape{1, 7, 1});
  CHECK(sizes({2, 0, 3}, 1) == Shape{2, 0, 3});
}

TEST_CASE("strides: row-major, also with sizes 0 and 1") {
  CHECK(row_major({2, 3, 4}) == Strides{12, 4, 1});
  CHECK(row_major({}) == Strides{});
  CHECK(row_major({2, 0, 3}) == Strides{3, 3, 1});
  CHECK(is_row_major({2, 3}, {3, 1}));
  CHECK_FALSE(is_row_major({2, 3}, {1, 2}));
  CHECK_FALSE(is_row_major({2, 3}, {6, 2}));
  CHECK_FALSE(is_row_major({2}, {0}));
  CHECK(is_row_major({1, 3, 1}, {99, 1, 77}));  // an axis of size 1 is never stepped along
  CHECK(is_row_major({0, 3}, {5, 5}));          // nothing to be out of order
  CHECK(is_row_major({}, {}));
}

TEST_CASE("broadcast: NumPy's rules") {
  struct Row {
    Shape a, b, y;
  };
  for (const Row& r : {Row{{2, 3}, {2, 3}, {2, 3}}, Row{{2, 3}, {3}, {2, 3}}, Row{{2, 1}, {1, 3}, {2, 3}},
                       Row{{}, {4, 5}, {4, 5}}, Row{{1, 1, 1}, {7}, {1, 1, 7}}, Row{{0, 3}, {1, 3}, {0, 3}},
                       Row{{1}, {0}, {0}}, Row{{5, 1, 4}, {3, 1}, {5, 3, 4}}}) {
    CHECK(broadcast("op", r.a, r.b) == r.y);
    CHECK(broadcast("op", r.b, r.a) == r.y);
  }
  CHECK(broadcast_strides({3, 1}, {1, 1}, {2, 3, 4}) == Strides{0, 1, 0});
  CHECK(broadcast_strides({}, {}, {2}) == Strides{0});
  CHECK(broadcast_strides({2, 3}, {3, 1}, {2, 3}) == Strides{3, 1});
}

TEST_CASE("broadcasts_to: one shape to another that stays as it is") {
  for (const Shape& shape : {Shape{}, Shape{4}, Shape{1}, Shape{3, 1}, Shape{2, 3, 4}, Shape{1, 1, 1}})
    CHECK(broadcasts_to(shape, {2, 3, 4}));
  for (const Shape& shape : {Shape{3}, Shape{2, 1}, Shape{1, 2, 3, 4}, Shape{0}})
    CHECK_FALSE(broadcasts_to(shape, {2, 3, 4}));
  CHECK_FALSE(broadcasts_to({3}, {1}));
  CHECK(broadcasts_to({0, 1}, {0, 3}));
}

TEST_CASE("broadcast: the error names the op, both shapes and the sizes that clash, in the order of the operands") {
  CHECK_THROWS_WITH_AS(broadcast("add", {2, 3}, {2, 4}),
                       "add: sizes must match or be 1, from the last axis on; got a [2, 3] and b [2, 4] (3 != 4)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(broadcast("mul", {4}, {2, 3}),
                       "mul: sizes must match or be 1, from the last axis on; got a [4] and b [2, 3] (4 != 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(broadcast("sub", {0}, {2}),
                       "sub: sizes must match or be 1, from the last axis on; got a [0] and b [2] (0 != 2)",
                       ShapeError);
}

TEST_CASE("check_axis and check_axes: negative axes count from the end") {
  CHECK(check_axis("sum", {2, 3, 4}, -1) == 2);
  CHECK(check_axis("sum", {2, 3, 4}, 0) == 0);
  CHECK(check_axes("sum", {2, 3, 4}, {-1, 0}) == Axes{0, 2});
  CHECK(check_axes("sum", {2, 3}, {}) == Axes{});
  CHECK(all_axes({5, 6, 7}) == Axes{0, 1, 2});
  CHECK_THROWS_WITH_AS(check_axis("sum", {4, 8}, 2), "sum: axis must be in [-2, 2); got 2 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(check_axis("sum", {4, 8}, -3), "sum: axis must be in [-2, 2); got -3 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(check_axis("sum", {}, 0), "sum: axis must be in [0, 0); got 0 for x []", ShapeError);
  CHECK_THROWS_WITH_AS(check_axes("mean", {4, 8}, {1, -1}),
                       "mean: an axis must be named once; got [1, -1] for x [4, 8]", ShapeError);
}

TEST_CASE("check_sizes: no negative size, and no product beyond 2^62") {
  const i64 half = i64{1} << 31;
  CHECK_NOTHROW(check_sizes("zeros", {half, half}));
  CHECK_NOTHROW(check_sizes("zeros", {0, 5}));
  CHECK_NOTHROW(check_sizes("zeros", {}));
  CHECK_THROWS_WITH_AS(check_sizes("zeros", {2, -1}), "zeros: sizes must not be negative; got shape [2, -1]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(check_sizes("zeros", {half, half, 2}),
                       "zeros: a tensor holds at most 2^62 elements; got shape [2147483648, 2147483648, 2]",
                       ShapeError);
  // Strides are products of the other sizes, so an axis of size 0 excuses nothing.
  CHECK_THROWS_WITH_AS(check_sizes("zeros", {0, half, half, half}),
                       "zeros: a tensor holds at most 2^62 elements; got shape [0, 2147483648, 2147483648, 2147483648]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(check_sizes("zeros", {half, half, half, 0}),
                       "zeros: a tensor holds at most 2^62 elements; got shape [2147483648, 2147483648, 2147483648, 0]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      check_sizes("zeros", {INT64_MAX, INT64_MAX}),
      "zeros: a tensor holds at most 2^62 elements; got shape [9223372036854775807, 9223372036854775807]", ShapeError);
}

TEST_CASE("to_string: shapes and axes") {
  CHECK(to_string(Shape{}) == "[]");
  CHECK(to_string(Shape{2, 3}) == "[2, 3]");
  CHECK(to_string(Axes{-1}) == "[-1]");
}
