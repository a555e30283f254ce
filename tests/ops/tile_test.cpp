#include "ops/tile.h"

#include <doctest/doctest.h>

#include <limits>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("op: tile: more and fewer numbers than axes, 0 and 1 times, order 2") {
  struct Case {
    Shape x, times;
  };
  for (const Case& c : {Case{{3, 4}, {2, 2}}, Case{{3, 4}, {2, 1, 3}}, Case{{2, 3, 2}, {2}}, Case{{3}, {0}},
                        Case{{}, {3}}, Case{{2, 2}, {}}, Case{{0, 2}, {3, 2}}, Case{{1, 2}, {4, 1}}}) {
    CAPTURE(to_string(c.times));
    check_op({.name = "tile",
              .op = [&](Args x) { return tile(x[0], c.times); },
              .reference =
                  [&](Args x) {
                    const int rank = std::max(c.x.rank(), c.times.rank());
                    Shape shape(rank, 1);
                    for (int i = 0; i < rank; ++i) {
                      const int own = i - (rank - c.x.rank()), t = i - (rank - c.times.rank());
                      shape[i] = (own < 0 ? 1 : c.x[own]) * (t < 0 ? 1 : c.times[t]);
                    }
                    Tensor y = empty(shape, DType::f64);
                    for_each_index(shape, [&](const std::vector<i64>& at) {
                      std::vector<i64> from(at.end() - c.x.rank(), at.end());
                      for (int i = 0; i < c.x.rank(); ++i) from[static_cast<std::size_t>(i)] %= c.x[i];
                      set_value(y, at, value_at(x[0], from));
                    });
                    return y;
                  },
              .inputs = {c.x}});
  }
  CHECK(tile(tensor({1, 0}, DType::boolean), {2}).to_vector<i64>() == std::vector<i64>{1, 0, 1, 0});
}

TEST_CASE("op: repeat_interleave: a number or a number for each position, order 2") {
  const auto naive = [](int axis, const std::vector<i64>& counts) {
    return [=](Args x) {
      std::vector<i64> origin;
      for (std::size_t i = 0; i < counts.size(); ++i)
        origin.insert(origin.end(), static_cast<std::size_t>(counts[i]), static_cast<i64>(i));
      Shape shape = x[0].shape();
      shape[axis] = static_cast<i64>(origin.size());
      Tensor y = empty(shape, DType::f64);
      for_each_index(shape, [&](const std::vector<i64>& at) {
        std::vector<i64> from = at;
        i64& p = from[static_cast<std::size_t>(axis)];
        p = origin[static_cast<std::size_t>(p)];
        set_value(y, at, value_at(x[0], from));
      });
      return y;
    };
  };
  for (i64 times : {0, 1, 3}) {
    check_op({.name = "repeat_interleave",
              .op = [=](Args x) { return repeat_interleave(x[0], times, -2); },
              .reference = naive(1, std::vector<i64>(3, times)),
              .inputs = {{2, 3, 2}}});
    const Tensor all = scalar(static_cast<double>(times), DType::i32);
    check_op({.name = "repeat_interleave",
              .op = [=](Args x) { return repeat_interleave(x[0], all, 1); },
              .reference = naive(1, std::vector<i64>(3, times)),
              .inputs = {{2, 3, 2}}});
  }
  const std::vector<std::vector<i64>> rows{{2, 0, 1, 3}, {0, 0, 0, 0}, {0, 1, 0, 0}, {1, 1, 1, 1}};
  for (const std::vector<i64>& counts : rows)
    check_op({.name = "repeat_interleave",
              .op = [&](Args x) { return repeat_interleave(x[0], from_vector(counts, {4}), 0); },
              .reference = naive(0, counts),
              .inputs = {{4, 2}}});
  check_op({.name = "repeat_interleave",
            .op = [](Args x) { return repeat_interleave(x[0], zeros({0}, DType::i64), 0); },
            .inputs = {{0, 2}}});
  const Tensor x = tensor({{1, 2}, {3, 4}}, DType::i32);
  CHECK(repeat_interleave(x, 2).to_vector<i32>() == std::vector<i32>{1, 1, 2, 2, 3, 3, 4, 4});
  CHECK(repeat_interleave(x, tensor({0, 1, 2, 0}, DType::i64)).to_vector<i32>() == std::vector<i32>{2, 3, 3});
  no_grad guard;
  CHECK_FALSE(repeat_interleave(ones({2}).requires_grad_(), tensor({1, 2}, DType::i64), 0).requires_grad());
}

TEST_CASE("op: meshgrid: values, swapped, scalars, gradients") {
  for (const bool swap : {false, true})
    for (int which : {0, 1, 2})
      check_op({.name = "meshgrid",
                .op = [=](Args x) { return meshgrid(x, swap)[static_cast<std::size_t>(which)]; },
                .reference =
                    [=](Args x) {
                      Shape shape{2, 3, 4};
                      if (swap) shape = {3, 2, 4};
                      Tensor y = empty(shape, DType::f64);
                      for_each_index(shape, [&](std::vector<i64> at) {
                        const Tensor& mine = x[static_cast<std::size_t>(which)];
                        const std::vector<i64> to = at;
                        if (swap) std::swap(at[0], at[1]);
                        set_value(y, to, value_at(mine, {at[static_cast<std::size_t>(which)]}));
                      });
                      return y;
                    },
                .inputs = {{2}, {3}, {4}}});
  check_op({.name = "meshgrid", .op = [](Args x) { return meshgrid(x)[1]; }, .inputs = {{0}, {3}}});
  CHECK(meshgrid({arange(0, 2), scalar(7)})[1].shape() == Shape{2, 1});
  CHECK(meshgrid({}).empty());
  CHECK(meshgrid({zeros({0}), zeros({2})})[0].shape() == Shape{0, 2});
}

TEST_CASE("op: tile, repeat_interleave, meshgrid: error texts") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(tile(x, {2, -1}), "tile: numbers must be >= 0; got [2, -1]", ShapeError);
  CHECK_THROWS_WITH_AS(tile(x, {i64{1} << 62, 4}),
                       "tile: a tensor holds at most 2^62 elements; got shape [2, 4611686018427387904]", ShapeError);
  CHECK_THROWS_WITH_AS(repeat_interleave(x, -1, 0), "repeat_interleave: times must be >= 0; got -1 for x [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(repeat_interleave(x, std::numeric_limits<i64>::max(), 0),
                       "repeat_interleave: a tensor holds at most 2^62 elements; got shape [2, 9223372036854775807, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      repeat_interleave(zeros({i64{1} << 40, 0}), i64{1} << 30, 0),
      "repeat_interleave: a tensor holds at most 2^62 elements; got shape [1099511627776, 1073741824, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(repeat_interleave(x, 1, 2), "repeat_interleave: axis must be in [-2, 2); got 2 for x [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      repeat_interleave(x, zeros({3}, DType::i64), 0),
      "repeat_interleave: there must be a count for every position of axis 0; got counts [3] for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(repeat_interleave(x, tensor({1, -1}, DType::i64), 0),
                       "repeat_interleave: counts must be >= 0; got -1", IndexError);
  const Tensor ends = full({2}, static_cast<double>(i64{1} << 61), DType::i64);
  CHECK_THROWS_WITH_AS(repeat_interleave(x, ends, 0),
                       "repeat_interleave: the sum of the counts must be at most 2^61; got 2305843009213693952 and "
                       "2305843009213693952 more",
                       ShapeError);
  CHECK_THROWS_WITH_AS(repeat_interleave(x, zeros({2}), 0),
                       "repeat_interleave: x must be i64 or i32 (the counts); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(meshgrid({x}), "meshgrid: every x must be [n]; got [2, 3]", ShapeError);
}
