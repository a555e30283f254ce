#include "ops/slice.h"

#include <doctest/doctest.h>

#include <limits>

#include "core/autograd.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
// Positions of a Python slice by stepping through it.
std::vector<i64> python_positions(Range r, i64 n) {
  std::vector<i64> at;
  i64 begin = r.begin < 0 ? r.begin + n : r.begin, end = r.end < 0 ? r.end + n : r.end;
  if (r.step > 0) {
    for (i64 i = std::max<i64>(begin, 0); i < std::min(end, n); i += r.step) at.push_back(i);
  } else {
    if (r.end == kEnd) end = -1;
    for (i64 i = std::min(begin, n - 1); i > std::max<i64>(end, -1); i += r.step) at.push_back(i);
  }
  return at;
}
}  // namespace

TEST_CASE("slice: begin, end and step as in Python, forwards and backwards") {
  const i64 n = 5;
  const Tensor x = arange(0, n, 1, DType::f64);
  for (i64 begin : {-9, -6, -5, -2, -1, 0, 1, 4, 5, 9})
    for (i64 end : {i64{-9}, i64{-5}, i64{-1}, i64{0}, i64{2}, i64{5}, i64{9}, kEnd})
      for (i64 step : {-7, -2, -1, 1, 2, 7}) {
        CAPTURE(begin);
        CAPTURE(end);
        CAPTURE(step);
        CHECK(slice(x, 0, {begin, end, step}).to_vector<i64>() == python_positions({begin, end, step}, n));
      }
  CHECK(slice(zeros({0, 2}), 0, {0, kEnd, 1}).shape() == Shape{0, 2});
  CHECK(slice(zeros({0, 2}), 0, {-1, kEnd, -1}).shape() == Shape{0, 2});
  constexpr i64 kLeast = std::numeric_limits<i64>::lowest();
  CHECK(slice(x, 0, {0, kEnd, kEnd}).to_vector<i64>() == std::vector<i64>{0});
  CHECK(slice(x, 0, {-1, kEnd, kLeast}).to_vector<i64>() == std::vector<i64>{4});
  CHECK(slice(x, 0, {kLeast, kLeast, 1}).size() == 0);
}

TEST_CASE("slice: a view, with gradients of order 2") {
  const Range ranges[] = {{1, 4}, {0, kEnd, 2}, {-1, kEnd, -1}, {-2, 0, -2}, {3, 3}, {0, kEnd}};
  for (const Range& r : ranges)
    for (int axis : {0, 1, -1})
      check_op({.name = "slice",
                .op = [&](Args x) { return slice(x[0], axis, r); },
                .reference =
                    [&](Args a) {
                      const int k = axis < 0 ? axis + 3 : axis;
                      const auto at = python_positions(r, a[0].shape()[k]);
                      Shape shape = a[0].shape();
                      shape[k] = static_cast<i64>(at.size());
                      Tensor y = empty(shape, DType::f64);
                      for_each_index(shape, [&](std::vector<i64> i) {
                        const double v = [&] {
                          auto from = i;
                          auto& p = from[static_cast<std::size_t>(k)];
                          p = at[static_cast<std::size_t>(p)];
                          return value_at(a[0], from);
                        }();
                        set_value(y, i, v);
                      });
                      return y;
                    },
                .inputs = {{3, 4, 2}}});
  const Tensor x = zeros({4, 4});
  CHECK(slice(x, 0, {1, 3}).body().storage == x.body().storage);
  CHECK(slice(x, 0, {0, kEnd}).ref() == x.ref());
}

TEST_CASE("place: positions, step, fill, and its gradient") {
  CHECK(place(tensor({1, 2}), 0, 5, 1, 2, 9).to_vector<i64>() == std::vector<i64>{9, 1, 9, 2, 9});
  CHECK(place(tensor({1, 2, 3}), 0, 3, 2, -1).to_vector<i64>() == std::vector<i64>{3, 2, 1});
  CHECK(place(tensor({1}, DType::boolean), -1, 3, 2).to_vector<i64>() == std::vector<i64>{0, 0, 1});
  CHECK(place(zeros({2, 0}), 1, 3, 0).to_vector<i64>() == std::vector<i64>(6, 0));
  CHECK(place(zeros({1}), 0, 3, 2, kEnd).shape() == Shape{3});
  for (i64 step : {1, 2, -1})
    check_op({.name = "place", .op = [&](Args x) { return place(x[0], 1, 7, 2, step, 0.5); }, .inputs = {{2, 3, 2}}});
  check_op({.name = "place", .op = [&](Args x) { return place(x[0], 1, 7, 2, 1); }, .inputs = {{0, 3}}});
}

TEST_CASE("flip and select") {
  check_op({.name = "flip", .op = [](Args x) { return flip(x[0], -1); }, .inputs = {{2, 3}}});
  CHECK(flip(tensor({{1, 2}, {3, 4}}), 1).to_vector<i64>() == std::vector<i64>{2, 1, 4, 3});
  CHECK(select(tensor({{1, 2}, {3, 4}}), 1, -1).to_vector<i64>() == std::vector<i64>{2, 4});
  check_op({.name = "select", .op = [](Args x) { return select(x[0], 1, 2); }, .inputs = {{2, 3, 4}}});
}

TEST_CASE("indexing by brackets: positions, ranges, whole axes, ellipsis, new axes") {
  const Tensor x = reshape(arange(0, 24), {2, 3, 4});
  CHECK(x[1][2][3].item() == 23);
  CHECK(x[-1].shape() == Shape{3, 4});
  CHECK(x.index({1, Range{0, 2}, -1}).to_vector<i64>() == std::vector<i64>{15, 19});
  CHECK(x.index({kEllipsis, 0}).shape() == Shape{2, 3});
  CHECK(x.index({kAll, kNewAxis, 1}).shape() == Shape{2, 1, 4});
  CHECK(x.index({kEllipsis, kNewAxis}).shape() == Shape{2, 3, 4, 1});
  CHECK(x.index({kNewAxis, kEllipsis, Range{-1, kEnd, -2}}).to_vector<i64>()[1] == 1);
  check_op({.name = "slice",
            .op =
                [](Args a) {
                  return a[0].index({kAll, 1, Range{3, kEnd, -2}});
                },
            .inputs = {{2, 3, 4}}});
}

TEST_CASE("slice, select, place, index: error texts") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(slice(x, 2, {}), "slice: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(slice(x, 0, {0, 1, 0}), "slice: step must not be 0; got x [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(select(x, 1, 3), "select: position must be in [-3, 3); got 3 for axis 1 of x [2, 3]",
                       IndexError);
  CHECK_THROWS_WITH_AS(x[-3], "select: position must be in [-2, 2); got -3 for axis 0 of x [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(place(x, 1, 4, 2),
                       "place: positions must be in [0, 4); got begin = 2, step = 1 for axis 1 of x [2, 3]",
                       IndexError);
  CHECK_THROWS_WITH_AS(place(x, 0, 4, 1, kEnd),
                       "place: positions must be in [0, 4); got begin = 1, step = 9223372036854775807 for axis 0 of x "
                       "[2, 3]",
                       IndexError);
  CHECK_THROWS_WITH_AS(place(tensor({1, 2}, DType::i64), 0, 5, 1, 1, 0.5),
                       "place: a number beside i64 must be whole and in its range; got 0.5 and i64 [2]", DTypeError);
  CHECK_THROWS_WITH_AS(place(x, 0, -1, 0), "place: sizes must not be negative; got shape [-1, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(x.index({0, 0, 0}),
                       "index: at most one entry per axis and one kEllipsis; got 3 and 0 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(x.index({kEllipsis, kEllipsis}),
                       "index: at most one entry per axis and one kEllipsis; got 0 and 2 for x [2, 3]", ShapeError);
}

TEST_CASE("slice, select, flip: size 0; flip names itself") {
  check_op({.name = "slice", .op = [](Args x) { return slice(x[0], 0, {1, 3}); }, .inputs = {{4, 0}}});
  check_op({.name = "select", .op = [](Args x) { return select(x[0], 0, 1); }, .inputs = {{4, 0}}});
  check_op({.name = "flip", .op = [](Args x) { return flip(x[0], 1); }, .inputs = {{4, 0}}});
  CHECK_THROWS_WITH_AS(flip(zeros({2, 3}), 2), "flip: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
}

TEST_CASE("op: segment and flip of several axes: values, gradients, error texts") {
  for (i64 begin : {1, -2})
    check_op({.name = "segment",
              .op = [=](Args a) { return segment(a[0], 1, begin, 2); },
              .reference =
                  [](Args a) {
                    Tensor y = empty({2, 2, 2}, DType::f64);
                    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                      set_value(y, at, value_at(a[0], {at[0], at[1] + 1, at[2]}));
                    });
                    return y;
                  },
              .inputs = {{2, 3, 2}}});
  check_op({.name = "segment", .op = [](Args a) { return segment(a[0], 0, 3, 0); }, .inputs = {{3, 2}}});
  check_op({.name = "segment", .op = [](Args a) { return segment(a[0], 1, 0, 0); }, .inputs = {{2, 0}}});
  check_op({.name = "flip",
            .op =
                [](Args a) {
                  return flip(a[0], {-1, 0});
                },
            .reference =
                [](Args a) {
                  Tensor y = empty({2, 3, 4}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    set_value(y, at, value_at(a[0], {1 - at[0], at[1], 3 - at[2]}));
                  });
                  return y;
                },
            .inputs = {{2, 3, 4}}});
  check_op({.name = "flip", .op = [](Args a) { return flip(a[0], {0, 1}); }, .inputs = {{0, 2}}});
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(segment(x, 1, 2, 2),
                       "segment: positions must be in [0, 3); got 2 from 2 on for axis 1 of x [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(segment(x, 1, -4, 1),
                       "segment: positions must be in [0, 3); got 1 from -4 on for axis 1 of x [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(segment(x, 1, 1, std::numeric_limits<i64>::max()),
                       "segment: positions must be in [0, 3); got 9223372036854775807 from 1 on for axis 1 of x [2, 3]",
                       IndexError);
  CHECK_THROWS_WITH_AS(segment(x, 1, 0, -1), "segment: count must be >= 0; got -1 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(segment(x, 2, 0, 1), "segment: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(flip(x, {1, -1}), "flip: an axis must be named once; got [1, -1] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(flip(x, 2), "flip: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
}
