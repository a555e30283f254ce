#include "ops/views.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/slice.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
// y[i] = x[source(i)]
auto naive_move(const Shape& shape, std::function<std::vector<i64>(const std::vector<i64>&)> source) {
  return [=](Args a) {
    Tensor y = empty(shape, DType::f64);
    for_each_index(shape, [&](const std::vector<i64>& at) { set_value(y, at, value_at(a[0], source(at))); });
    return y;
  };
}
bool shares(const Tensor& a, const Tensor& b) { return a.body().storage == b.body().storage; }
}  // namespace

TEST_CASE("reshape: keeps logical order, works out -1, copies only where strides do not allow a view") {
  const auto naive = [](Args a) { return from_vector(a[0].to_vector<double>(), {4, 3, 2}); };
  for (const Shape& from : {Shape{2, 12}, Shape{24}, Shape{3, 1, 8}, Shape{2, 3, 4}})
    check_op({.name = "reshape",
              .op =
                  [](Args x) {
                    return reshape(x[0], {4, -1, 2});
                  },
              .reference = naive,
              .inputs = {from}});
  check_op({.name = "reshape", .op = [](Args x) { return reshape(x[0], {1, -1}); }, .inputs = {Shape{}}});
  check_op({.name = "reshape", .op = [](Args x) { return reshape(x[0], {0, 5}); }, .inputs = {{3, 0, 2}}});
  CHECK(reshape(zeros({3, 0}), {-1, 4}).shape() == Shape{0, 4});
  CHECK(reshape(zeros({1, 1}), {}).rank() == 0);
}

TEST_CASE("reshape: views of views share storage where they can") {
  const Tensor x = random_tensor({4, 6, 5}, 1);
  CHECK(shares(reshape(transpose(x), {2, 2, 5, 6}), x));       // cuts an axis that lies in one run
  CHECK(shares(reshape(slice(x, 0, {1, 3}), {12, 5}), x));     // joins axes behind a cut
  CHECK(shares(reshape(slice(x, 2, {0, 5, 2}), {24, 3}), x));  // joins axes before a step
  CHECK(shares(reshape(expand(zeros({3, 1}), {3, 4}), {3, 2, 2}), expand(zeros({1}), {1})) == false);
  CHECK_FALSE(shares(reshape(transpose(x), {4, 30}), x));  // joins axes that do not follow each other
  for (const Tensor& v : {transpose(x), slice(x, 1, {4, kEnd, -2}), slice(x, 2, {1, 4}), permute(x, {2, 0, 1})}) {
    CHECK(reshape(v, {-1}).to_vector<double>() == v.to_vector<double>());
    CHECK(reshape(v, {2, -1}).to_vector<double>() == v.to_vector<double>());
    CHECK(reshape(v, {v.dim(0), 1, v.dim(1), v.dim(2), 1}).to_vector<double>() == v.to_vector<double>());
  }
}

TEST_CASE("permute, swap_axes, transpose: values and gradients") {
  check_op({.name = "permute",
            .op =
                [](Args x) {
                  return permute(x[0], {2, 0, -2});
                },
            .reference = naive_move({4, 2, 3},
                                    [](auto& i) {
                                      return std::vector<i64>{i[1], i[2], i[0]};
                                    }),
            .inputs = {{2, 3, 4}}});
  check_op({.name = "swap_axes",
            .op = [](Args x) { return swap_axes(x[0], 0, -1); },
            .reference = naive_move({4, 3, 2},
                                    [](auto& i) {
                                      return std::vector<i64>{i[2], i[1], i[0]};
                                    }),
            .inputs = {{2, 3, 4}}});
  check_op({.name = "transpose",
            .op = [](Args x) { return transpose(x[0]); },
            .reference = naive_move({3, 2},
                                    [](auto& i) {
                                      return std::vector<i64>{i[1], i[0]};
                                    }),
            .inputs = {{2, 3}}});
  check_op({.name = "permute", .op = [](Args x) { return permute(x[0], {}); }, .inputs = {Shape{}}});
  check_op({.name = "transpose", .op = [](Args x) { return transpose(x[0]); }, .inputs = {{0, 3}}});
  const Tensor x = zeros({2, 3});
  CHECK(permute(x, {0, 1}).ref() == x.ref());
  CHECK(shares(transpose(x), x));
}

TEST_CASE("expand: repeats without a copy, and its gradient sums") {
  check_op({.name = "expand",
            .op =
                [](Args x) {
                  return expand(x[0], {4, 2, 3});
                },
            .reference = naive_move({4, 2, 3},
                                    [](auto& i) {
                                      return std::vector<i64>{i[1], 0};
                                    }),
            .inputs = {{2, 1}}});
  check_op({.name = "expand",
            .op =
                [](Args x) {
                  return expand(x[0], {3, 2});
                },
            .reference = naive_move({3, 2}, [](auto&) { return std::vector<i64>{}; }),
            .inputs = {Shape{}}});
  check_op({.name = "expand", .op = [](Args x) { return expand(x[0], {0, 3}); }, .inputs = {{1, 3}}});
  const Tensor x = zeros({2, 1});
  CHECK(shares(expand(x, {5, 2, 7}), x));
  CHECK(expand(x, {2, 1}).ref() == x.ref());
}

TEST_CASE("unsqueeze, squeeze, flatten: shapes and gradients") {
  const Tensor x = zeros({2, 1, 3});
  CHECK(unsqueeze(x, 0).shape() == Shape{1, 2, 1, 3});
  CHECK(unsqueeze(x, -1).shape() == Shape{2, 1, 3, 1});
  CHECK(unsqueeze(x, 3).shape() == Shape{2, 1, 3, 1});
  CHECK(squeeze(x, 1).shape() == Shape{2, 3});
  CHECK(squeeze(x, -2).shape() == Shape{2, 3});
  CHECK(flatten(x).shape() == Shape{6});
  CHECK(flatten(x, 0, 1).shape() == Shape{2, 3});
  CHECK(flatten(x, -1, -1).shape() == Shape{2, 1, 3});
  CHECK(flatten(scalar(1)).shape() == Shape{1});
  check_op({.name = "flatten",
            .op = [](Args a) { return flatten(squeeze(unsqueeze(a[0], 1), 1), 1); },
            .inputs = {{2, 3, 2}}});
}

TEST_CASE("views: error texts") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(reshape(x, {4, 2}),
                       "reshape: the number of elements must stay; got [4, 2] for x [2, 3] (6 elements)", ShapeError);
  CHECK_THROWS_WITH_AS(reshape(x, {4, -1}),
                       "reshape: the number of elements must stay; got [4, -1] for x [2, 3] (6 elements)", ShapeError);
  CHECK_THROWS_WITH_AS(reshape(x, {-1, -1}),
                       "reshape: the number of elements must stay; got [-1, -1] for x [2, 3] (6 elements)", ShapeError);
  CHECK_THROWS_WITH_AS(reshape(zeros({0}), {0, -1}),
                       "reshape: the number of elements must stay; got [0, -1] for x [0] (0 elements)", ShapeError);
  CHECK_THROWS_WITH_AS(reshape(x, {-2, -3}), "reshape: sizes must not be negative; got shape [-2, -3]", ShapeError);
  CHECK_THROWS_WITH_AS(permute(x, {0}), "permute: every axis must be named once; got [0] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(permute(x, {0, 0}), "permute: an axis must be named once; got [0, 0] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(permute(x, {0, 2}), "permute: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(swap_axes(x, 0, 5), "swap_axes: axis must be in [-2, 2); got 5 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(transpose(zeros({3})), "transpose: x must have at least 2 axes; got x [3]", ShapeError);
  CHECK_THROWS_WITH_AS(expand(x, {3}), "expand: x must broadcast to the shape; got x [2, 3] and [3]", ShapeError);
  CHECK_THROWS_WITH_AS(expand(x, {1, 3}), "expand: x must broadcast to the shape; got x [2, 3] and [1, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(expand(x, {4, 3}), "expand: x must broadcast to the shape; got x [2, 3] and [4, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(unsqueeze(x, 3), "unsqueeze: axis must be in [-3, 2]; got 3 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(squeeze(x, 0), "squeeze: the axis must have size 1; got axis 0 of x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(flatten(x, 1, 0), "flatten: first must not come after last; got 1 and 0 for x [2, 3]",
                       ShapeError);
}

TEST_CASE("views: gradients and size 0 of each") {
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{2, 0, 4}}) {
    const i64 n = shape[1];
    check_op({.name = "unsqueeze", .op = [](Args x) { return unsqueeze(x[0], -2); }, .inputs = {shape}});
    check_op({.name = "squeeze", .op = [](Args x) { return squeeze(x[0], 1); }, .inputs = {Shape{2, 1, n}}});
    check_op({.name = "flatten", .op = [](Args x) { return flatten(x[0], 0, 1); }, .inputs = {shape}});
    check_op({.name = "permute", .op = [](Args x) { return permute(x[0], {1, 2, 0}); }, .inputs = {shape}});
    check_op({.name = "swap_axes", .op = [](Args x) { return swap_axes(x[0], 0, 2); }, .inputs = {shape}});
    check_op({.name = "expand", .op = [&](Args x) { return expand(x[0], {5, 2, n}); }, .inputs = {Shape{2, n}}});
  }
}

TEST_CASE("op: move_axis: one axis, several, gradients, error texts") {
  struct Case {
    Axes from, to, expected;  // of permute
  };
  for (const Case& c : {Case{{0}, {-1}, {1, 2, 3, 0}}, Case{{3}, {1}, {0, 3, 1, 2}}, Case{{0, 1}, {3, 0}, {1, 2, 3, 0}},
                        Case{{-1, 0}, {0, 1}, {3, 0, 1, 2}}, Case{{}, {}, {0, 1, 2, 3}}})
    check_op({.name = "move_axis",
              .op = [=](Args a) { return move_axis(a[0], c.from, c.to); },
              .reference = [=](Args a) { return permute(a[0], c.expected); },
              .inputs = {{2, 3, 4, 5}}});
  CHECK(move_axis(zeros({2, 3, 0}), 2, 0).shape() == Shape{0, 2, 3});
  check_op({.name = "move_axis", .op = [](Args a) { return move_axis(a[0], 0, 1); }, .inputs = {{2, 0}}});
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(move_axis(x, {0, 1}, {0}),
                       "move_axis: from and to must be as many; got [0, 1] and [0] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(move_axis(x, {0, 0}, {0, 1}), "move_axis: an axis must be named once; got [0, 0] for x [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(move_axis(x, 0, 2), "move_axis: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
}

TEST_CASE("op: expand with -1 keeps a size; squeeze without an axis drops every 1") {
  check_op({.name = "expand", .op = [](Args a) { return expand(a[0], {2, -1, 4, -1}); }, .inputs = {{3, 1, 2}}});
  CHECK(expand(zeros({2, 1, 3}), {-1, 4, -1}).shape() == Shape{2, 4, 3});
  CHECK(expand(zeros({0, 1}), {-1, 2}).shape() == Shape{0, 2});
  CHECK_THROWS_WITH_AS(expand(zeros({3}), {-1, 3}), "expand: sizes must not be negative; got shape [-1, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(expand(zeros({1}), {-2}), "expand: sizes must not be negative; got shape [-2]", ShapeError);
  check_op({.name = "squeeze", .op = [](Args a) { return squeeze(a[0]); }, .inputs = {{1, 2, 1, 3, 1}}});
  check_op({.name = "squeeze", .op = [](Args a) { return squeeze(a[0], 1); }, .inputs = {{2, 1, 0}}});
  CHECK(squeeze(zeros({1, 2, 1})).shape() == Shape{2});
  CHECK(squeeze(zeros({1, 1})).shape() == Shape{});
}
