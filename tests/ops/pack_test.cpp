#include "ops/pack.h"

#include <doctest/doctest.h>

#include "core/errors.h"
#include "ops/cast.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
// "b * d" by hand: tensor after tensor, each in row-major order.
Tensor naive_pack_b_star_d(Args xs) {
  const i64 b = xs[0].dim(0), d = xs[0].dim(-1);
  i64 n = 0;
  for (const Tensor& x : xs) n += x.size() / (b * d);
  Tensor y = zeros({b, n, d}, DType::f64);
  i64 begin = 0;
  for (const Tensor& x : xs) {
    const i64 middle = x.size() / (b * d);
    i64 flat = 0;
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      set_value(y, {flat / (middle * d), begin + flat / d % middle, flat % d}, value_at(x, at));
      ++flat;
    });
    begin += middle;
  }
  return y;
}
}  // namespace

TEST_CASE("pack: tensors of ranks 2, 3 and 4 along one axis") {
  check_op({.name = "pack",
            .op = [](Args x) { return pack(x, "b * d").y; },
            .reference = naive_pack_b_star_d,
            .inputs = {{2, 3, 2, 4}, {2, 4}, {2, 5, 4}, {2, 0, 4}}});
  check_op({.name = "pack",
            .op = [](Args x) { return pack(x, "  b  *  d ").y; },
            .reference = naive_pack_b_star_d,
            .inputs = {{1, 1}}});
  const Packed p = pack({zeros({2, 3, 2, 4}), zeros({2, 4}), zeros({2, 5, 4})}, "b * d");
  CHECK_EQ(p.y.shape(), Shape{2, 12, 4});
  CHECK(p.shapes == std::vector<Shape>{{3, 2}, {}, {5}});
  CHECK_EQ(pack({zeros({2, 3})}, "*").y.shape(), Shape{6});
  CHECK_EQ(pack({scalar(1), zeros({2})}, "*").y.shape(), Shape{3});
}

TEST_CASE("unpack: the inverse of pack, also with one size worked out") {
  check_op({.name = "unpack",
            .op =
                [](Args x) {
                  return unpack(x[0], {{3, 2}, {}, {5}}, "b * d")[2];
                },
            .reference =
                [](Args x) {
                  Tensor y = zeros({2, 5, 3}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    set_value(y, at, value_at(x[0], {at[0], at[1] + 7, at[2]}));
                  });
                  return y;
                },
            .inputs = {{2, 12, 3}}});
  const std::vector<Tensor> xs{random_tensor({2, 3, 2, 4}, 1), random_tensor({2, 4}, 2),
                               random_tensor({2, 5, 0, 4}, 3)};
  for (const std::vector<Shape>& shapes :
       {std::vector<Shape>{{3, 2}, {}, {5, 0}}, {{-1, 2}, {}, {5, 0}}, {{3, 2}, {}, {5, -1}}, {{3, 2}, {-1}, {0}}}) {
    const std::vector<Tensor> back = unpack(pack(xs, "b * d").y, shapes, "b * d");
    REQUIRE_EQ(back.size(), 3);
    CHECK_LE(difference(back[0], xs[0]), 0);
    CHECK_LE(difference(reshape(back[1], {2, 4}), xs[1]), 0);
    CHECK_EQ(back[2].size(), 0);
  }
  const Tensor x = random_tensor({6, 2}, 1);
  CHECK_EQ(unpack(x, {{6}}, "* c")[0].body().storage.get(), x.body().storage.get());  // views
  CHECK(unpack(zeros({0}), std::initializer_list<Shape>{}, "*").empty());
}

TEST_CASE("pack, unpack: what is wrong, with the pattern") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(pack({x}, "a b"), "pack \"a b\": a pattern must have one '*'", Error);
  CHECK_THROWS_WITH_AS(pack({x}, "* *"), "pack \"* *\": an axis must be named once; got '*' twice", Error);
  CHECK_THROWS_WITH_AS(pack({x}, "a a *"), "pack \"a a *\": an axis must be named once; got 'a' twice", Error);
  CHECK_THROWS_WITH_AS(pack({x}, "1 *"), "pack \"1 *\": a name must begin with a letter; got '1'", Error);
  CHECK_THROWS_WITH_AS(pack({x}, "(a) *"),
                       "pack \"(a) *\": a name must consist of ASCII letters, digits and '_'; got '(a)'", Error);
  CHECK_THROWS_WITH_AS(pack({x}, "a b c *"), "pack \"a b c *\": tensor 0 must have 3 or more axes; got [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(pack({x, zeros({4, 5, 6})}, "* b"),
                       "pack \"* b\": 'b' is 3 in tensor 0 [2, 3] but 6 in tensor 1 [4, 5, 6]", ShapeError);
  CHECK_THROWS_WITH_AS(pack(std::vector<Tensor>{}, "*"), "pack \"*\": there must be at least one tensor; got none",
                       ShapeError);
  CHECK_THROWS_WITH_AS(pack({x, zeros({2, 3}, DType::f64)}, "a *"),
                       "pack \"a *\": tensors must have one dtype; got f32 [2, 3] and f64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(unpack(x, {{3}}, "a b *"), "unpack \"a b *\": x must have 3 axes; got [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(unpack(x, {{2}, {2}}, "a *"),
                       "unpack \"a *\": shapes must add up to the axis; got [2], [2] for an axis of size 3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(unpack(x, {{2, -1}}, "a *"),
                       "unpack \"a *\": -1 must stand for one whole number; got [2, -1] for an axis of size 3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(unpack(x, {{-1}, {-1}}, "a *"),
                       "unpack \"a *\": at most one size may be -1; got [-1], [-1] for an axis of size 3", ShapeError);
  CHECK_THROWS_WITH_AS(unpack(x, {{-2}}, "a *"),
                       "unpack \"a *\": sizes must be 0 or more, or -1 once; got [-2] for an axis of size 3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(unpack(x, {{i64{1} << 40, i64{1} << 40, -1}}, "a *"),
                       "unpack \"a *\": -1 must stand for one whole number; got [1099511627776, 1099511627776, -1] for "
                       "an axis of size 3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(unpack(zeros({0}), {{0, -1}}, "*"),
                       "unpack \"*\": -1 must stand for one whole number; got [0, -1] for an axis of size 0",
                       ShapeError);
}

TEST_CASE("op: unpack: parts without elements") {
  check_op({.name = "unpack",
            .op =
                [](Args x) {
                  return unpack(x[0], {Shape{2}, Shape{3}}, "* a")[1];
                },
            .inputs = {{5, 0}}});
}
