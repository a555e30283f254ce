#include "ops/gather.h"

#include <doctest/doctest.h>

#include <random>

#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Tensor random_index(const Shape& shape, i64 n, u64 seed) {
  std::mt19937_64 engine(seed);
  std::vector<i64> v(static_cast<std::size_t>(shape.elements()));
  for (i64& x : v) x = static_cast<i64>(engine() % static_cast<u64>(n + 1)) - 1;  // -1 .. n-1, with repetitions
  return from_vector(v, shape);
}

Tensor naive_take_along(const Tensor& x, int axis, const Tensor& index) {
  Tensor y = zeros(index.shape(), DType::f64);
  for_each_index(index.shape(), [&](const std::vector<i64>& at) {
    std::vector<i64> from = at;
    from[static_cast<std::size_t>(axis)] = static_cast<i64>(value_at(index, at));
    if (from[static_cast<std::size_t>(axis)] >= 0) set_value(y, at, value_at(x, from));
  });
  return y;
}

}  // namespace

TEST_CASE("take_along: forward, scatter gradient, second order; repeated and empty indices") {
  struct Case {
    Shape x, index;
    int axis;
  };
  for (const Case& c :
       {Case{{3, 5}, {3, 2}, 1}, Case{{3, 5}, {7, 5}, 0}, Case{{2, 3, 4}, {2, 6, 4}, 1}, Case{{4}, {9}, 0},
        Case{{2, 1}, {2, 1}, 1}, Case{{3, 4}, {3, 0}, 1}, Case{{0, 4}, {0, 2}, 1}, Case{{100, 3}, {100, 2}, 1}}) {
    const Tensor index = random_index(c.index, c.x[c.axis], 5);
    check_op({.name = "take_along",
              .op = [&](Args x) { return take_along(x[0], c.axis - c.x.rank(), index); },
              .reference = [&](Args x) { return naive_take_along(x[0], c.axis, index); },
              .inputs = {c.x}});
  }
}

TEST_CASE("scatter_add: forward and both gradients, duplicates added up") {
  for (int axis : {0, 1}) {
    const Tensor index = random_index({6, 5}, axis == 0 ? 4 : 5, 3);
    const Shape x_shape = axis == 0 ? Shape{4, 5} : Shape{6, 5};
    check_op({.name = "scatter_add",
              .op = [&](Args x) { return scatter_add(x[0], axis, index, x[1]); },
              .reference =
                  [&](Args x) {
                    Tensor y = zeros(x_shape, DType::f64);
                    for_each_index(x_shape, [&](const std::vector<i64>& at) { set_value(y, at, value_at(x[0], at)); });
                    for_each_index(index.shape(), [&](const std::vector<i64>& at) {
                      std::vector<i64> to = at;
                      to[static_cast<std::size_t>(axis)] = static_cast<i64>(value_at(index, at));
                      if (to[static_cast<std::size_t>(axis)] >= 0)
                        set_value(y, to, value_at(y, to) + value_at(x[1], at));
                    });
                    return y;
                  },
              .inputs = {x_shape, {6, 5}}});
  }
}

TEST_CASE("index_select and embedding: whole slices") {
  for (int axis : {0, 1, 2}) {
    const Shape shape{3, 4, 5};
    const Tensor index = random_index({2, 3}, shape[axis], 9);
    check_op({.name = "index_select",
              .op = [&](Args x) { return index_select(x[0], axis, index); },
              .reference =
                  [&](Args x) {
                    Shape s = shape;
                    s.erase(axis);
                    s.insert(axis, 3);
                    s.insert(axis, 2);
                    Tensor y = zeros(s, DType::f64);
                    for_each_index(s, [&](const std::vector<i64>& at) {
                      const auto a = static_cast<std::size_t>(axis);
                      std::vector<i64> from = at;
                      from[a] = static_cast<i64>(value_at(index, {at[a], at[a + 1]}));
                      from.erase(from.begin() + axis + 1);
                      if (from[a] >= 0) set_value(y, at, value_at(x[0], from));
                    });
                    return y;
                  },
              .inputs = {shape}});
  }
  const Tensor index = tensor({{0, 2, 2}, {3, -1, 0}}, DType::i32);
  check_op({.name = "embedding",
            .op = [&](Args x) { return embedding(x[0], index); },
            .reference =
                [&](Args x) {
                  Tensor y = zeros({2, 3, 6}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    const i64 row = static_cast<i64>(value_at(index, {at[0], at[1]}));
                    if (row >= 0) set_value(y, at, value_at(x[0], {row, at[2]}));
                  });
                  return y;
                },
            .inputs = {{4, 6}}});
}

TEST_CASE("gather: what is wrong is named") {
  const Tensor x = zeros({4, 8});
  CHECK_THROWS_WITH_AS(take_along(x, 2, zeros({4, 8}, DType::i64)),
                       "take_along: axis must be in [-2, 2); got 2 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(take_along(x, 1, zeros({3, 2}, DType::i64)),
                       "take_along: index must have the shape of x but along axis 1; got index [3, 2] for x [4, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(take_along(x, 1, full({4, 1}, 8, DType::i64)),
                       "take_along: values must be in [-1, 8); got 8 at element 0 of index [4, 1]", IndexError);
  CHECK_THROWS_WITH_AS(take_along(x, 1, zeros({4, 1})), "take_along: x must be i64 or i32 (an index); got f32",
                       DTypeError);
  CHECK_THROWS_WITH_AS(scatter_add(x, 1, zeros({4, 2}, DType::i64), zeros({4, 3})),
                       "scatter_add: source must have the shape of index; got source [4, 3] and index [4, 2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(embedding(zeros({4}), zeros({2}, DType::i64)), "embedding: weight must be [V, D]; got [4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(embedding(x, full({2}, 4, DType::i64)),
                       "embedding: values must be in [-1, 4); got 4 at element 0 of index [2]", IndexError);
}
