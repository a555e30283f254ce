#include "ops/scatter.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Tensor copy_of(const Tensor& x) {
  Tensor y = empty(x.shape(), DType::f64);
  for_each_index(x.shape(), [&](const std::vector<i64>& at) { set_value(y, at, value_at(x, at)); });
  return y;
}

// Entries in row-major order; a later one wins, or they add up.
Tensor naive_scatter(const Tensor& x, int axis, const Tensor& index, const std::function<double(std::vector<i64>)>& v,
                     bool adds) {
  Tensor y = copy_of(x);
  for_each_index(index.shape(), [&](const std::vector<i64>& at) {
    std::vector<i64> to = at;
    to[static_cast<std::size_t>(axis)] = static_cast<i64>(value_at(index, at));
    if (to[static_cast<std::size_t>(axis)] < 0) return;
    set_value(y, to, v(at) + (adds ? value_at(y, to) : 0));
  });
  return y;
}

struct Case {
  Shape x, index, source;
  int axis;
};
const Case kCases[] = {{{3, 5}, {3, 2}, {3, 2}, 1},
                       {{3, 5}, {7, 5}, {7, 5}, 0},
                       {{2, 3, 4}, {2, 6, 4}, {2, 6, 4}, 1},
                       {{2, 3, 4}, {1, 6, 2}, {3, 7, 2}, 1},  // index smaller than x, source larger than index
                       {{4}, {9}, {9}, 0},
                       {{3, 4}, {3, 0}, {3, 0}, 1},
                       {{0, 4}, {0, 2}, {0, 2}, 1},
                       {{1, 1}, {1, 1}, {1, 1}, 0},
                       {{2, 100}, {2, 300}, {2, 300}, 1}};

}  // namespace

TEST_CASE("op: scatter and scatter_add: every axis, duplicates, empty entries, order 2 in both operands") {
  for (const Case& c : kCases) {
    const Tensor index = random_index(c.index, c.x[c.axis], 3);
    CAPTURE(to_string(c.x));
    check_op({.name = "scatter_add",
              .op = [&](Args x) { return scatter_add(x[0], c.axis, index, x[1]); },
              .reference =
                  [&](Args x) {
                    return naive_scatter(
                        x[0], c.axis, index, [&](const auto& at) { return value_at(x[1], at); }, true);
                  },
              .inputs = {c.x, c.source}});
    check_op({.name = "scatter",
              .op = [&](Args x) { return scatter(x[0], c.axis - c.x.rank(), index, x[1]); },
              .reference =
                  [&](Args x) {
                    return naive_scatter(
                        x[0], c.axis, index, [&](const auto& at) { return value_at(x[1], at); }, false);
                  },
              .inputs = {c.x, c.source}});
    check_op({.name = "scatter",
              .op = [&](Args x) { return scatter(x[0], c.axis, index, 2.5); },
              .reference =
                  [&](Args x) {
                    return naive_scatter(
                        x[0], c.axis, index, [](const auto&) { return 2.5; }, false);
                  },
              .inputs = {c.x}});
  }
}

TEST_CASE("op: scatter: of entries that meet the last one stays, and it alone gets the gradient") {
  const Tensor x = tensor({1, 2, 3}, DType::f64).requires_grad_();
  const Tensor source = tensor({10, 20, 30, 40}, DType::f64).requires_grad_();
  const Tensor y = scatter(x, 0, tensor({2, 0, 2, -1}, DType::i64), source);
  CHECK(y.to_vector<double>() == std::vector<double>{20, 2, 30});
  const auto g = grad(y, {x, source}, tensor({5, 6, 7}, DType::f64));
  CHECK(g[0].to_vector<double>() == std::vector<double>{0, 6, 0});
  CHECK(g[1].to_vector<double>() == std::vector<double>{0, 5, 7, 0});
}

TEST_CASE("op: index_add: slices of every axis added up, order 2") {
  for (int axis : {0, 1, 2}) {
    const Shape shape{3, 4, 5};
    const Tensor index = random_index({2, 3}, shape[axis], 9);
    Shape slices = shape;
    slices[axis] = 3;
    slices.insert(axis, 2);
    const auto a = static_cast<std::size_t>(axis);
    check_op({.name = "index_add",
              .op = [&](Args x) { return index_add(x[0], axis, index, x[1]); },
              .reference =
                  [&](Args x) {
                    Tensor y = copy_of(x[0]);
                    for_each_index(slices, [&](const std::vector<i64>& at) {
                      std::vector<i64> to = at;
                      to[a] = static_cast<i64>(value_at(index, {at[a], at[a + 1]}));
                      to.erase(to.begin() + axis + 1);
                      if (to[a] >= 0) set_value(y, to, value_at(y, to) + value_at(x[1], at));
                    });
                    return y;
                  },
              .inputs = {shape, slices}});
  }
  const Tensor none = zeros({0}, DType::i64);
  check_op(
      {.name = "index_add", .op = [&](Args x) { return index_add(x[0], 0, none, x[1]); }, .inputs = {{2, 3}, {0, 3}}});
}

TEST_CASE("op: index_put: pairs of positions, summed or overwritten, sources that broadcast, order 2") {
  const Tensor i = random_index({4, 1}, 3, 1), j = random_index({5}, 4, 2);
  for (const bool accumulate : {false, true})
    for (const Shape& source : {Shape{4, 5, 2}, Shape{5, 1}, Shape{}})
      check_op({.name = "index_put",
                .op =
                    [&](Args x) {
                      return index_put(x[0], {i, j}, x[1], {.accumulate = accumulate});
                    },
                .reference =
                    [&](Args x) {
                      Tensor y = copy_of(x[0]);
                      for_each_index({4, 5, 2}, [&](const std::vector<i64>& at) {
                        const std::vector<i64> to{static_cast<i64>(value_at(i, {at[0], 0})),
                                                  static_cast<i64>(value_at(j, {at[1]})), at[2]};
                        if (to[0] < 0 || to[1] < 0) return;
                        std::vector<i64> from(at.end() - source.rank(), at.end());
                        for (int a = 0; a < source.rank(); ++a)
                          if (source[a] == 1) from[static_cast<std::size_t>(a)] = 0;
                        set_value(y, to, value_at(x[1], from) + (accumulate ? value_at(y, to) : 0));
                      });
                      return y;
                    },
                .inputs = {{3, 4, 2}, source}});
  const Tensor x = arange(0, 3), at = scalar(1, DType::i64), none = zeros({0}, DType::i64);
  CHECK(index_put(x, {at}, scalar(7, DType::i64)).to_vector<i64>() == std::vector<i64>{0, 7, 2});
  CHECK(index_put(x, {none}, scalar(7, DType::i64)).to_vector<i64>() == std::vector<i64>{0, 1, 2});
}

TEST_CASE("op: scatter family: integers add up and wrap around, every dtype can be overwritten") {
  const Tensor index = tensor({1, 1, -1, 0}, DType::i32);
  const i64 most = std::numeric_limits<i64>::max();
  const Tensor big = from_vector(std::vector<i64>{most, 0}, {2});
  CHECK(scatter_add(big, 0, index, tensor({1, 2, 3, 1}, DType::i64)).to_vector<i64>() ==
        std::vector<i64>{std::numeric_limits<i64>::lowest(), 3});
  CHECK(index_add(zeros({2}, DType::i32), 0, index, ones({4}, DType::i32)).to_vector<i32>() == std::vector<i32>{1, 2});
  for (DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean}) {
    CAPTURE(name(t));
    const Tensor x = tensor({0, 0, 1}, t), source = tensor({0, 1, 0, 1}, t);
    CHECK(scatter(x, 0, index, source).to_vector<double>() == std::vector<double>{1, 1, 1});
    CHECK(scatter(x, 0, index, 1).to_vector<double>() == std::vector<double>{1, 1, 1});
    CHECK(index_put(x, {index}, source).to_vector<double>() == std::vector<double>{1, 1, 1});
    CHECK(scatter(x, 0, index, source).dtype() == t);
  }
}

TEST_CASE("op: scatter family: what is wrong is named") {
  const Tensor x = zeros({4, 8}), index = zeros({4, 2}, DType::i64);
  CHECK_THROWS_WITH_AS(scatter_add(x, 1, index, zeros({3, 2})),
                       "scatter_add: source must be no smaller than index along every axis; got source [3, 2] and "
                       "index [4, 2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      scatter(x, 1, index, zeros({4})),
      "scatter: source must be no smaller than index along every axis; got source [4] and index [4, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(scatter(x, 1, zeros({5, 2}, DType::i64), 1),
                       "scatter: index must be no larger than x along every axis but 1; got index [5, 2] and x [4, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scatter(x, 2, index, 1), "scatter: axis must be in [-2, 2); got 2 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS((scatter(x, 1, full({4, 2}, 8, DType::i64), zeros({4, 2})), settle()),
                       bad_value("scatter: values must be in [-1, 8); got 8", " at element 0 of index [4, 2]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(scatter(x, 1, index, zeros({4, 2}, DType::f64)),
                       "scatter: operands must have one dtype; got f32 [4, 8] and f64 [4, 2]", DTypeError);
  const Tensor mask = zeros({4, 8}, DType::boolean);
  CHECK_THROWS_WITH_AS(scatter_add(mask, 1, index, mask), "scatter_add: x must be a number; got bool", DTypeError);
  const Tensor rows = zeros({2}, DType::i64);
  CHECK_THROWS_WITH_AS(
      index_add(x, 0, rows, zeros({3, 8})),
      "index_add: source must have the shape of the slices, [2, 8]; got [3, 8] for index [2] and x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(index_put(x, {rows, rows}, zeros({3})),
                       "index_put: sizes must match or be 1, from the last axis on; got a [3] and b [2] (3 != 2)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(index_put(x, {rows, rows}, zeros({3, 2})),
                       "index_put: source must broadcast to the slices, [2]; got [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(index_put(x, {}, zeros({2})), "index_put: there must be from 1 to 2 indices; got 0 for x [4, 8]",
                       ShapeError);
}

TEST_CASE("scatter_add: strided indices are read as they lie; no rows") {
  check_op({.name = "scatter_add",
            .op = [](Args x) { return scatter_add(x[0], 0, x[1], x[2]); },
            .inputs = {{3, 2}, Input::fixed(zeros({0, 2}, DType::i64)), {0, 2}}});
  check_op(
      {.name = "scatter_add",
       .op = [](Args x) { return scatter_add(x[0], 0, x[1], x[2]); },
       .inputs = {{5, 3}, Input::fixed(tensor({{0, 4, -1}, {2, 2, 2}, {0, 1, 3}, {0, 4, 0}}, DType::i64)), {4, 3}}});
}

TEST_CASE("op: index_put: no entries, and slices without elements") {
  const auto op = [](Args x) { return index_put(x[0], {x[1]}, x[2]); };
  const Tensor two = tensor({2, 0}, DType::i64);
  check_op({.name = "index_put", .op = op, .inputs = {{3, 2}, Input::fixed(zeros({0}, DType::i64)), {0, 2}}});
  check_op({.name = "index_put", .op = op, .inputs = {{3, 0}, Input::fixed(two), {2, 0}}});
}
