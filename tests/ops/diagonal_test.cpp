#include "ops/diagonal.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <limits>

#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("diagonal and place_diagonal: forward and gradients, each the other's") {
  check_op({.name = "diagonal",
            .op = [](Args x) { return diagonal(x[0], 0, 2); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({3, 4}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    set_value(y, at, value_at(x[0], {at[0], at[1], at[0]}));
                  });
                  return y;
                },
            .inputs = {{3, 4, 3}}});
  check_op({.name = "place_diagonal",
            .op = [](Args x) { return place_diagonal(x[0], 0, 1); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({3, 3, 2}, DType::f64);
                  for_each_index(x[0].shape(), [&](const std::vector<i64>& at) {
                    set_value(y, {at[0], at[0], at[1]}, value_at(x[0], at));
                  });
                  return y;
                },
            .inputs = {{3, 2}}});
  check_op({.name = "diagonal", .op = [](Args x) { return diagonal(x[0], -1, 0); }, .inputs = {{1, 1}}});
  check_op({.name = "diagonal", .op = [](Args x) { return diagonal(x[0], 0, 1); }, .inputs = {{0, 0, 2}}});
}

TEST_CASE("op: diagonal: error texts") {
  CHECK_THROWS_WITH_AS(diagonal(zeros({2, 2}), 1, -1), "diagonal: two axes are needed; got axes 1 and -1 of x [2, 2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(place_diagonal(zeros({2}), 0, 3),
                       "place_diagonal: 0 <= a < b <= rank is needed; got a = 0, b = 3 for x [2]", ShapeError);
  CHECK_THROWS_WITH_AS(diagonal(zeros({2, 2}), 0, 2), "diagonal: axis must be in [-2, 2); got 2 for x [2, 2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(diag_embed(zeros({2}), 0, 0, 2),
                       "diag_embed: two axes in [-2, 2) are needed; got 0 and 2 for x [2]", ShapeError);
  CHECK_THROWS_WITH_AS(diag_embed(scalar(1)), "diag_embed: two axes in [-1, 1) are needed; got -2 and -1 for x []",
                       ShapeError);
  const i64 far = std::numeric_limits<i64>::lowest();
  CHECK_THROWS_WITH_AS(diag_embed(zeros({2}), far),
                       "diag_embed: the offset must be in [-2^61, 2^61]; got -9223372036854775808", ShapeError);
  CHECK_THROWS_WITH_AS(
      place_diagonal(zeros({2}), 0, 1, i64{1} << 61),
      "place_diagonal: a tensor holds at most 2^62 elements; got shape [2305843009213693954, 2305843009213693954]",
      ShapeError);
  CHECK(diagonal(zeros({2, 2}), 0, 1, far).shape() == Shape{0});
  CHECK(diagonal(zeros({2, 2}), 1, 0, far).shape() == Shape{0});
}

TEST_CASE("op: diagonal: every offset, matrices of any shape, axes in any order, order 2") {
  struct Case {
    Shape x;
    int a, b;
  };
  for (const Case& c : {Case{{3, 4}, 0, 1}, Case{{4, 3}, 1, 0}, Case{{2, 3, 5}, -2, -1}, Case{{3, 2, 4}, 2, 0},
                        Case{{0, 3}, 0, 1}, Case{{1, 1}, 0, 1}})
    for (i64 offset : {0, 1, -1, 2, -2, 5, -5}) {
      CAPTURE(to_string(c.x));
      CAPTURE(offset);
      const int a = c.a < 0 ? c.a + c.x.rank() : c.a, b = c.b < 0 ? c.b + c.x.rank() : c.b;
      check_op({.name = "diagonal",
                .op = [&](Args x) { return diagonal(x[0], c.a, c.b, offset); },
                .reference =
                    [&](Args x) {
                      const i64 row = std::max<i64>(-offset, 0), column = std::max<i64>(offset, 0);
                      const i64 k = std::max<i64>(std::min(c.x[a] - row, c.x[b] - column), 0);
                      Shape shape = c.x;
                      shape[std::min(a, b)] = k;
                      shape.erase(std::max(a, b));
                      Tensor y = empty(shape, DType::f64);
                      for_each_index(shape, [&](const std::vector<i64>& at) {
                        std::vector<i64> from = at;
                        const i64 i = at[static_cast<std::size_t>(std::min(a, b))];
                        from.insert(from.begin() + std::max(a, b), 0);
                        from[static_cast<std::size_t>(a)] = i + row;
                        from[static_cast<std::size_t>(b)] = i + column;
                        set_value(y, at, value_at(x[0], from));
                      });
                      return y;
                    },
                .inputs = {c.x}});
    }
}

TEST_CASE("op: diag_embed and place_diagonal: offsets and axes, order 2") {
  struct Case {
    int a, b;
    i64 offset;
  };
  for (const Case& c :
       {Case{-2, -1, 0}, Case{-2, -1, 1}, Case{-2, -1, -2}, Case{0, 2, 1}, Case{2, 0, 1}, Case{1, 0, -1}})
    for (const Shape& shape : {Shape{2, 3}, Shape{2, 1}, Shape{2, 0}}) {
      const int a = c.a < 0 ? c.a + 3 : c.a, b = c.b < 0 ? c.b + 3 : c.b;
      check_op({.name = "diag_embed",
                .op = [&](Args x) { return diag_embed(x[0], c.offset, c.a, c.b); },
                .reference =
                    [&](Args x) {
                      const i64 n = shape[1] + std::abs(c.offset);
                      Shape wide(3, n);
                      wide[3 - a - b] = 2;
                      Tensor y = zeros(wide, DType::f64);
                      for_each_index(shape, [&](const std::vector<i64>& at) {
                        std::vector<i64> to(3, at[0]);
                        to[static_cast<std::size_t>(a)] = at[1] + std::max<i64>(-c.offset, 0);
                        to[static_cast<std::size_t>(b)] = at[1] + std::max<i64>(c.offset, 0);
                        set_value(y, to, value_at(x[0], at));
                      });
                      return y;
                    },
                .inputs = {shape}});
    }
  check_op({.name = "place_diagonal",
            .op = [](Args x) { return place_diagonal(x[0], 1, 2, -1); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({2, 4, 4}, DType::f64);
                  for_each_index({2, 3}, [&](const std::vector<i64>& at) {
                    set_value(y, {at[0], at[1] + 1, at[1]}, value_at(x[0], at));
                  });
                  return y;
                },
            .inputs = {{2, 3}}});
}

TEST_CASE("place_diagonal: size 0") {
  check_op({.name = "place_diagonal", .op = [](Args x) { return place_diagonal(x[0], 0, 1); }, .inputs = {{0, 2}}});
}
