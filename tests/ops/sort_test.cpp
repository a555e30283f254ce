#include "ops/sort.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/choose.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Does a come before b? NaN is the largest number there is.
bool comes_before(double a, double b, bool descending) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) != std::isnan(b) && std::isnan(a) == descending;
  return descending ? a > b : a < b;
}
// Positions of the first k elements along the axis, by repeated search of the best that is left; lowest index first.
Tensor naive_indices(const Tensor& x, int axis_any, i64 k, bool descending) {
  const auto axis = static_cast<std::size_t>(axis_any < 0 ? axis_any + x.rank() : axis_any);
  Shape shape = x.shape();
  shape[static_cast<int>(axis)] = k;
  Tensor y = zeros(shape, DType::i64);
  Shape rows = shape;
  rows[static_cast<int>(axis)] = 1;
  if (shape.elements() > 0)
    for_each_index(rows, [&](std::vector<i64> at) {
      std::vector<double> v;
      for (i64 i = 0; i < x.dim(axis_any); ++i) {
        at[axis] = i;
        v.push_back(value_at(x, at));
      }
      std::vector<bool> taken(v.size());
      for (i64 j = 0; j < k; ++j) {
        std::size_t best = v.size();
        for (std::size_t i = 0; i < v.size(); ++i)
          if (!taken[i] && (best == v.size() || comes_before(v[i], v[best], descending))) best = i;
        taken[best] = true;
        at[axis] = j;
        set_value(y, at, static_cast<double>(best));
      }
    });
  return y;
}
Tensor naive_values(const Tensor& x, int axis_any, const Tensor& indices) {
  const auto axis = static_cast<std::size_t>(axis_any < 0 ? axis_any + x.rank() : axis_any);
  Tensor y = empty(indices.shape(), DType::f64);
  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
    std::vector<i64> from = at;
    from[axis] = static_cast<i64>(value_at(indices, at));
    set_value(y, at, value_at(x, from));
  });
  return y;
}
// Whole numbers with many ties, as any dtype.
Tensor with_ties(const Shape& shape, DType t, u64 seed) {
  return cast(random_tensor(shape, seed, -4, 4, DType::i32), t);
}
void check_same(const Tensor& indices, const Tensor& expected) {
  CHECK(indices.dtype() == DType::i64);
  CHECK(indices.shape() == expected.shape());
  CHECK(indices.to_vector<i64>() == expected.to_vector<i64>());
}

const DType kDtypes[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::boolean};

}  // namespace

TEST_CASE("sort and top_k: every dtype with ties, every axis, layouts, sizes 0 and 1, every k") {
  const std::pair<Shape, int> rows[] = {{{7}, 0},    {{1}, 0},       {{5, 8}, -1},    {{5, 8}, 0}, {{2, 6, 3}, 1},
                                        {{0, 3}, 1}, {{3, 0, 2}, 0}, {{2, 1, 2}, -2}, {{2, 40}, 1}};
  for (DType t : kDtypes)
    for (const auto& [shape, axis] : rows)
      for (bool descending : {false, true}) {
        CAPTURE(name(t));
        CAPTURE(to_string(shape));
        CAPTURE(axis);
        const Tensor base = with_ties(shape, t, 1);
        for (const Tensor& x : {base, strided_copy(base)}) {
          const i64 n = x.dim(axis);
          const Ordered s = sort(x, axis, descending);
          check_same(s.indices, naive_indices(x, axis, n, descending));
          CHECK(s.values.dtype() == t);
          CHECK(difference(s.values, naive_values(x, axis, s.indices)) == 0);
          check_same(argsort(x, axis, descending), s.indices);
          for (i64 k = 0; k <= n; k += n > 10 ? 7 : 1) {
            const auto [values, indices] = top_k(x, k, axis, descending);
            check_same(indices, naive_indices(x, axis, k, descending));
            CHECK(difference(values, naive_values(x, axis, indices)) == 0);
          }
          if (n == 0) continue;
          const Tensor first = naive_indices(x, axis, 1, descending);
          check_same(descending ? argmax(x, axis, keep_dims) : argmin(x, axis, keep_dims), first);
        }
      }
}

TEST_CASE("sort, top_k, argmax: NaN is the largest, infinities, -0 equals 0, ends of the integers") {
  const double nan = std::nan(""), inf = INFINITY;
  for (DType t : {DType::f32, DType::f64}) {
    const Tensor x = tensor({0, nan, -inf, -0.0, inf, nan, -1, 1, -nan}, t);
    check_same(argsort(x), tensor({2, 6, 0, 3, 7, 4, 1, 5, 8}, DType::i64));
    check_same(argsort(x, 0, true), tensor({1, 5, 8, 4, 7, 0, 3, 6, 2}, DType::i64));
    check_same(top_k(x, 4).indices, tensor({1, 5, 8, 4}, DType::i64));
    check_same(top_k(x, 3, 0, false).indices, tensor({2, 6, 0}, DType::i64));
    CHECK(argmax(x).item() == 1);
    CHECK(argmin(x).item() == 2);
    CHECK(argmin(tensor({nan, 3, 2, nan}, t)).item() == 2);
    CHECK(argmin(tensor({nan, nan}, t)).item() == 0);
  }
  const i64 low = std::numeric_limits<i64>::lowest(), most = std::numeric_limits<i64>::max();
  check_same(argsort(from_vector(std::vector<i64>{0, most, low, -1, most - 1}, {5})),
             tensor({2, 3, 0, 4, 1}, DType::i64));
  check_same(argsort(from_vector(std::vector<i32>{0, 2147483647, -2147483647 - 1, -1}, {4})),
             tensor({2, 3, 0, 1}, DType::i64));
}

TEST_CASE("argmax and argmin: shapes, the whole tensor, ties") {
  const Tensor x = tensor({{1, 5, 5}, {7, 0, 7}});
  CHECK(argmax(x, 1).to_vector<i64>() == std::vector<i64>{1, 0});
  CHECK(argmax(x, 0).to_vector<i64>() == std::vector<i64>{1, 0, 1});
  CHECK(argmin(x, -1).to_vector<i64>() == std::vector<i64>{0, 1});
  CHECK(argmax(x, 1).shape() == Shape{2});
  CHECK(argmax(x, 1, keep_dims).shape() == Shape{2, 1});
  CHECK(argmax(x).item() == 3);
  CHECK(argmax(transpose(x)).item() == 1);
  CHECK(argmin(x).item() == 4);
  CHECK(argmax(x).shape() == Shape{});
  CHECK(argmax(zeros({0, 3}), 1).shape() == Shape{0});
  CHECK(argmax(scalar(4)).item() == 0);
}

TEST_CASE("sort and top_k: gradients of values, order 2, strided; indices have none") {
  for (bool descending : {false, true})
    for (const auto& [shape, axis] : {std::pair<Shape, int>{{4, 5}, 1}, {{4, 5}, 0}, {{2, 3, 4}, 1}, {{3}, -1}}) {
      check_op(
          {.name = "sort",
           .op = [&](Args x) { return sort(x[0], axis, descending).values; },
           .reference =
               [&](Args x) { return naive_values(x[0], axis, naive_indices(x[0], axis, x[0].dim(axis), descending)); },
           .inputs = {shape}});
      check_op({.name = "top_k",
                .op = [&](Args x) { return top_k(x[0], 2, axis, descending).values; },
                .reference = [&](Args x) { return naive_values(x[0], axis, naive_indices(x[0], axis, 2, descending)); },
                .inputs = {shape}});
    }
  const Tensor x = tensor({3, 1, 2}, DType::f64).requires_grad_();
  const auto [values, indices] = top_k(x, 2);
  CHECK_FALSE(indices.requires_grad());
  CHECK_FALSE(argmax(x).requires_grad());
  CHECK(grad(values, {x}, tensor({10, 20}, DType::f64))[0].to_vector<double>() == std::vector<double>{10, 0, 20});
}

TEST_CASE("sort, top_k, argmax: margins are the smallest gap that could change the indices") {
  const auto margin = [](const std::function<void()>& run) {
    RouteTape tape;
    TapeScope scope(tape, TapeMode::measure);
    run();
    return tape.margin();
  };
  const Tensor x = tensor({{8, 1, 4, 4.5}, {0, 16, 2, 1}}, DType::f64);
  CHECK(margin([&] { sort(x, 1); }) == 0.5);
  CHECK(margin([&] { top_k(x, 1, 1); }) == 3.5);       // 8 and 4.5
  CHECK(margin([&] { top_k(x, 2, 1); }) == 0.5);       // 4.5 and 4
  CHECK(margin([&] { top_k(x, 1, 1, false); }) == 1);  // 0 and 1
  CHECK(margin([&] { top_k(x, 4, 1); }) == 0.5);
  CHECK(margin([&] { argmax(x, 0); }) == 2);  // 4 and 2
  CHECK(margin([&] { argmax(x); }) == 8);
  CHECK(margin([&] { argmax(tensor({1, 1})); }) == 0);
  CHECK(margin([&] { argmax(tensor({1})); }) == INFINITY);
  CHECK(margin([&] { sort(tensor({1, std::nan(""), INFINITY, INFINITY})); }) == 0);
}

TEST_CASE("top_k: a tape records its choice by name and replays it, whatever the scores say") {
  RouteTape tape;
  const Tensor x = tensor({3, 1, 2}, DType::f64);
  {
    TapeScope scope(tape, TapeMode::record);
    top_k(x, 2);
    argmax(x);
  }
  CHECK(tape.choices()[0].name == "top_k");
  CHECK(tape.choices()[1].name == "argmax");
  TapeScope scope(tape, TapeMode::replay);
  const auto [values, indices] = top_k(tensor({0, 5, 6}, DType::f64), 2);
  check_same(indices, tensor({0, 2}, DType::i64));
  CHECK(values.to_vector<double>() == std::vector<double>{0, 6});
}

TEST_CASE("sort and top_k: large rows and many rows, the same for one, two and three threads") {
  const int threads = num_threads();
  for (DType t : {DType::f32, DType::i64})
    for (const auto& [shape, k] : {std::pair<Shape, i64>{{200000}, 1000},
                                   {{200000}, 3},
                                   {{2, 70000}, 70000},
                                   {{3000, 8}, 2},
                                   {{300, 100}, 30}}) {
      const Tensor x = t == DType::f32 ? random_tensor(shape, 1, -1, 1, t) : random_tensor(shape, 1, -100, 100, t);
      const i64 n = x.dim(-1);
      // Reference: a stable sort of positions.
      std::vector<i64> expected;
      const std::vector<double> v = x.to_vector<double>();
      for (i64 r = 0; r < x.size() / n; ++r) {
        std::vector<i64> order(static_cast<std::size_t>(n));
        for (i64 i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
        std::stable_sort(order.begin(), order.end(), [&](i64 a, i64 b) {
          return v[static_cast<std::size_t>(r * n + a)] > v[static_cast<std::size_t>(r * n + b)];
        });
        expected.insert(expected.end(), order.begin(), order.begin() + k);
      }
      for (int count : {1, 2, 3}) {
        set_num_threads(count);
        CHECK(top_k(x, k).indices.to_vector<i64>() == expected);
        if (k == n) CHECK(argsort(x, -1, true).to_vector<i64>() == expected);
      }
    }
  set_num_threads(threads);
}

TEST_CASE("sort, top_k, argmax: error texts") {
  const Tensor x = zeros({32, 8});
  CHECK_THROWS_WITH_AS(top_k(x, 9, 1), "top_k: k must be in [0, 8]; got k = 9 for x [32, 8] along axis 1", ShapeError);
  CHECK_THROWS_WITH_AS(top_k(x, -1), "top_k: k must be in [0, 8]; got k = -1 for x [32, 8] along axis -1", ShapeError);
  CHECK_THROWS_WITH_AS(top_k(zeros({2, 0}), 1), "top_k: k must be in [0, 0]; got k = 1 for x [2, 0] along axis -1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(top_k(x, 1, 2), "top_k: axis must be in [-2, 2); got 2 for x [32, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(sort(x, 2), "sort: axis must be in [-2, 2); got 2 for x [32, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(argsort(x, 2), "argsort: axis must be in [-2, 2); got 2 for x [32, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(argmax(x, -3), "argmax: axis must be in [-2, 2); got -3 for x [32, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(argmin(zeros({2, 0}), 1), "argmin: there must be elements to compare; got axis 1 of x [2, 0]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(argmax(zeros({0})), "argmax: there must be elements to compare; got x [0]", ShapeError);
  CHECK_THROWS_WITH_AS(max_along(x, 2), "max_along: axis must be in [-2, 2); got 2 for x [32, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(min_along(zeros({2, 0}), 1),
                       "min_along: there must be elements to compare; got axis 1 of x [2, 0]", ShapeError);
}

TEST_CASE("op: max_along and min_along: one element and its index; of equal ones the first, and it gets all of dy") {
  for (const bool largest : {true, false})
    for (const auto& [shape, axis] :
         {std::pair<Shape, int>{{4, 5}, 1}, {{4, 5}, 0}, {{2, 3, 4}, -2}, {{3}, 0}, {{2, 1}, 1}, {{0, 3}, 1}}) {
      const auto find = largest ? max_along : min_along;
      check_op({.name = largest ? "max_along" : "min_along",
                .op = [&](Args x) { return find(x[0], axis, true).values; },
                .reference = [&](Args x) { return naive_values(x[0], axis, naive_indices(x[0], axis, 1, largest)); },
                .inputs = {shape}});
      for (DType t : kDtypes) {
        const Tensor x = with_ties(shape, t, 2);
        const Ordered found = find(x, axis, true);
        check_same(found.indices, naive_indices(x, axis, 1, largest));
        CHECK(found.values.dtype() == t);
        CHECK(difference(found.values, naive_values(x, axis, found.indices)) == 0);
        CHECK(find(x, axis, false).values.rank() == shape.rank() - 1);
      }
    }
  const Tensor x = tensor({{1, 5, 5}, {7, 0, 0}}, DType::f64).requires_grad_();
  const Tensor dy = tensor({10, 20}, DType::f64);
  CHECK(grad(max_along(x, 1).values, {x}, dy)[0].to_vector<double>() == std::vector<double>{0, 10, 0, 20, 0, 0});
  CHECK(grad(min_along(x, 1).values, {x}, dy)[0].to_vector<double>() == std::vector<double>{10, 0, 0, 0, 20, 0});
  CHECK(std::isnan(max_along(tensor({1, std::nan(""), 2}), 0).values.item()));
  CHECK(min_along(tensor({1, std::nan(""), 2}), 0).values.item() == 1);
  check_op({.name = "top_k", .op = [](Args a) { return top_k(a[0], 0, 1).values; }, .inputs = {{2, 3}}});
}

TEST_CASE("sort, top_k, argsort, argmax, argmin: strided, integers, no rows") {
  for (DType t : {DType::f64, DType::i32, DType::i64, DType::boolean})
    for (const Tensor& x : {random_tensor({4, 6}, 3, -5, 5, t), zeros({0, 3}, t)}) {
      const auto check = [&](const char* name, const std::function<Tensor(Args)>& op) {
        check_op({.name = name, .op = op, .inputs = {Input::fixed(x)}, .order = 0});
      };
      check("sort", [](Args a) { return sort(a[0], 1).values; });
      check("top_k", [](Args a) { return top_k(a[0], 2, 1).values; });
      check("argmax", [](Args a) { return argmax(a[0], 1); });
      check("argmin", [](Args a) { return argmin(a[0], 1); });
      check_op({.name = "argsort",
                .op = [](Args a) { return argsort(a[0], 1); },
                .reference = [](Args a) { return cast(naive_indices(a[0], 1, a[0].dim(1), false), DType::f64); },
                .inputs = {Input::fixed(x)},
                .order = 0});
    }
  for (const auto& op : {std::function<Tensor(Args)>([](Args a) { return sort(a[0], 1).values; }),
                         std::function<Tensor(Args)>([](Args a) { return top_k(a[0], 2, 1).values; })})
    check_op({.op = op, .inputs = {{0, 3}}});
}
