#include "ops/concat.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "core/autograd.h"
#include "core/observe.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
// Walks y and finds each element's tensor by counting along the axis.
auto naive_concat(int axis) {
  return [axis](Args xs) {
    const auto k = static_cast<std::size_t>(axis < 0 ? axis + xs[0].rank() : axis);
    Shape shape = xs[0].shape();
    for (std::size_t i = 1; i < xs.size(); ++i) shape[static_cast<int>(k)] += xs[i].dim(axis);
    Tensor y = empty(shape, DType::f64);
    for_each_index(shape, [&](const std::vector<i64>& at) {
      std::vector<i64> own = at;
      std::size_t i = 0;
      while (own[k] >= xs[i].dim(axis)) own[k] -= xs[i++].dim(axis);
      set_value(y, at, value_at(xs[i], own));
    });
    return y;
  };
}
}  // namespace

TEST_CASE("concat: forward, gradient, second order, strided, empty parts") {
  check_op({.name = "concat",
            .op = [](Args x) { return concat(x, 0); },
            .reference = naive_concat(0),
            .inputs = {{2, 3}, {1, 3}, {4, 3}}});
  check_op({.name = "concat",
            .op = [](Args x) { return concat(x, -1); },
            .reference = naive_concat(-1),
            .inputs = {{2, 3}, {2, 0}, {2, 1}}});
  check_op({.name = "concat",
            .op = [](Args x) { return concat(x, 1); },
            .reference = naive_concat(1),
            .inputs = {{2, 1, 3}, {2, 2, 3}}});
  check_op({.name = "concat",
            .op = [](Args x) { return concat(x, 0); },
            .reference = naive_concat(0),
            .inputs = {{0}, {1}}});
  check_op({.name = "concat",
            .op = [](Args x) { return concat(x, 1); },
            .reference = naive_concat(1),
            .inputs = {{0, 2}, {0, 3}}});
  check_op({.name = "concat", .op = [](Args x) { return concat({x[0], x[0], x[1]}, 0); }, .inputs = {{2}, {3}}});
}

TEST_CASE("concat: spans, vectors and lists, every dtype, one tensor, many tensors, threads") {
  const Tensor x = tensor({1, 0}), y = tensor({1});
  CHECK(concat({x, y}, 0).to_vector<i64>() == std::vector<i64>{1, 0, 1});
  CHECK(concat(std::vector<Tensor>{x, y}, 0).shape() == Shape{3});
  CHECK(concat({x}, 0).ref() == x.ref());
  for (DType t : {DType::f64, DType::i32, DType::i64, DType::boolean}) {
    const Tensor a = tensor({1, 0}, t);
    CHECK(concat({a, a}, 0).dtype() == t);
    CHECK(concat({a, a}, -1).to_vector<i64>() == std::vector<i64>{1, 0, 1, 0});
  }
  std::vector<Tensor> many;
  for (i64 i = 0; i < 100; ++i) many.push_back(random_tensor({3, i % 4}, static_cast<u64>(i)).requires_grad_());
  const Tensor joined = concat(many, 1);
  CHECK(difference(joined, naive_concat(1)(many)) == 0);
  const std::vector<Tensor> g = grad(joined, many, joined.detach());
  for (std::size_t i = 0; i < many.size(); ++i) CHECK(difference(g[i], many[i]) == 0);
  const int threads = num_threads();
  for (int count : {1, 3}) {
    set_num_threads(count);
    const std::vector<Tensor> big = {random_tensor({200, 300}, 1), transpose(random_tensor({50, 200}, 2))};
    CHECK(difference(concat(big, 1), naive_concat(1)(big)) == 0);
  }
  set_num_threads(threads);
}

TEST_CASE("stack: a new axis at either end and in between") {
  for (int axis : {0, 1, 2, -1, -3})
    check_op({.name = "stack",
              .op = [&](Args x) { return stack(x, axis); },
              .reference =
                  [&](Args x) {
                    std::vector<Tensor> parts;
                    const int k = axis < 0 ? axis + 3 : axis;
                    for (const Tensor& t : x) {
                      Shape shape = t.shape();
                      shape.insert(k, 1);
                      parts.push_back(from_vector(t.to_vector<double>(), shape));
                    }
                    return naive_concat(k)(parts);
                  },
              .inputs = {{2, 3}, {2, 3}}});
  CHECK(stack({scalar(1), scalar(2)}, 0).to_vector<i64>() == std::vector<i64>{1, 2});
  CHECK(stack({zeros({0}), zeros({0})}, 1).shape() == Shape{0, 2});
}

TEST_CASE("split and chunk: views whose sizes add up, and gradients") {
  const Tensor x = reshape(arange(0, 12), {2, 6});
  const std::vector<Tensor> parts = split(x, {1, 0, 5}, 1);
  CHECK(parts.size() == 3);
  CHECK(parts[0].to_vector<i64>() == std::vector<i64>{0, 6});
  CHECK(parts[1].shape() == Shape{2, 0});
  CHECK(parts[2].body().storage == x.body().storage);
  CHECK(concat(parts, 1).to_vector<i64>() == x.to_vector<i64>());
  std::vector<i64> sizes;
  for (const Tensor& part : chunk(x, 4, -1)) sizes.push_back(part.dim(1));
  CHECK(sizes == std::vector<i64>{2, 2, 2});
  CHECK(chunk(x, 3, 0).size() == 2);
  check_op({.name = "chunk",
            .op =
                [](Args a) {
                  const auto p = chunk(a[0], 3, 1);
                  return p[0] * p[1] + p[2] * p[2];
                },
            .inputs = {{2, 6, 2}}});
  CHECK(split(zeros({0, 2}), {}, 0).empty());
}

TEST_CASE("roll: either sign, more than once around, empty axes") {
  const Tensor x = arange(0, 5);
  CHECK(roll(x, 2, 0).to_vector<i64>() == std::vector<i64>{3, 4, 0, 1, 2});
  CHECK(roll(x, -1, 0).to_vector<i64>() == std::vector<i64>{1, 2, 3, 4, 0});
  CHECK(roll(x, 12, 0).to_vector<i64>() == roll(x, 2, 0).to_vector<i64>());
  CHECK(roll(x, -5, 0).to_vector<i64>() == x.to_vector<i64>());
  CHECK(roll(zeros({2, 0}), 3, 1).shape() == Shape{2, 0});
  for (i64 shift : {0, 1, -2, 7})
    check_op({.name = "roll",
              .op = [&](Args a) { return roll(a[0], shift, 1); },
              .reference =
                  [&](Args a) {
                    Tensor y = empty(a[0].shape(), DType::f64);
                    for_each_index(y.shape(), [&](std::vector<i64> at) {
                      const double v = value_at(a[0], at);
                      at[1] = ((at[1] + shift) % 3 + 3) % 3;
                      set_value(y, at, v);
                    });
                    return y;
                  },
              .inputs = {{2, 3, 2}}});
}

TEST_CASE("concat, stack, split, chunk, roll: error texts") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(concat(std::vector<Tensor>{}, 0), "concat: there must be at least one tensor; got none",
                       ShapeError);
  CHECK_THROWS_WITH_AS(concat({x, x}, 2), "concat: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(concat({scalar(1), scalar(1)}, 0), "concat: axis must be in [0, 0); got 0 for x []", ShapeError);
  CHECK_THROWS_WITH_AS(concat({x, x, zeros({2, 4})}, 0),
                       "concat: sizes must match but for axis 0; got tensor 0 [2, 3] and tensor 2 [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(concat({x, zeros({3})}, 0),
                       "concat: sizes must match but for axis 0; got tensor 0 [2, 3] and tensor 1 [3]", ShapeError);
  CHECK_THROWS_WITH_AS(concat({x, zeros({2, 3}, DType::i64)}, 0),
                       "concat: operands must have one dtype; got f32 [2, 3] and i64 [2, 3]", DTypeError);
  CHECK_THROWS_WITH_AS(stack({x, zeros({3, 2})}, 0),
                       "stack: shapes must match; got tensor 0 [2, 3] and tensor 1 [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(stack({x}, 3), "stack: axis must be in [-3, 2]; got 3 for tensors [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(stack(std::vector<Tensor>{}, 0), "stack: there must be at least one tensor; got none",
                       ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {1, 1}, 1),
                       "split: sizes must add up to that of the axis; got [1, 1] for axis 1 of x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {4, -1}, -1),
                       "split: sizes must add up to that of the axis; got [4, -1] for axis -1 of x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(chunk(x, 0, 1), "chunk: n must be at least 1; got 0 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(roll(x, 1, 2), "roll: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
}

TEST_CASE("split, chunk, stack, roll: values, gradients, size 0") {
  for (i64 n : {0, 3}) {
    const auto product = [](const std::vector<Tensor>& parts) { return parts[0] * parts[1]; };
    check_op({.name = "split", .op = [&](Args x) { return product(split(x[0], {2, 2}, 0)); }, .inputs = {Shape{4, n}}});
    for (const i64 whole : {i64{4}, i64{9}})  // one part: all of x, in the graph as well
      check_op({.name = "split_every",
                .op = [&](Args x) { return split_every(x[0], whole, 0)[0]; },
                .inputs = {Shape{4, n}}});
    check_op({.name = "chunk", .op = [&](Args x) { return product(chunk(x[0], 2, 0)); }, .inputs = {Shape{4, n}}});
    check_op({.name = "stack", .op = [](Args x) { return stack(x, 1); }, .inputs = {Shape{2, n}, Shape{2, n}}});
    check_op({.name = "roll", .op = [](Args x) { return roll(x[0], 1, 0); }, .inputs = {Shape{2, n}}});
  }
}

TEST_CASE("op: split_every, chunk, unbind: sizes, and gradients of every part") {
  const auto sizes = [](const std::vector<Tensor>& parts) {
    std::vector<i64> n;
    for (const Tensor& p : parts) n.push_back(p.dim(0));
    return n;
  };
  const Tensor x = zeros({7, 2});
  CHECK(sizes(chunk(x, 3, 0)) == std::vector<i64>{3, 3, 1});
  CHECK(sizes(chunk(x, 5, 0)) == std::vector<i64>{2, 2, 2, 1});
  CHECK(sizes(chunk(x, 7, -2)) == std::vector<i64>(7, 1));
  CHECK(sizes(chunk(x, i64{1} << 62, 0)) == std::vector<i64>(7, 1));
  CHECK(sizes(split_every(x, 5, 0)) == std::vector<i64>{5, 2});
  CHECK(sizes(split_every(x, 7, 0)) == std::vector<i64>{7});
  CHECK(sizes(split_every(x, i64{1} << 62, 0)) == std::vector<i64>{7});
  CHECK(sizes(split_every(zeros({0, 2}), 3, 0)) == std::vector<i64>{0});
  CHECK(unbind(zeros({0, 2})).empty());
  CHECK(unbind(arange(0, 3))[2].item() == 2);
  for (int axis : {0, 1, 2}) {
    const auto part = [=](Args a) { return slice(a[0], axis, {1, 2}); };
    check_op({.name = "split_every",
              .op = [=](Args a) { return split_every(a[0], 1, axis - 3)[1]; },
              .reference = part,
              .inputs = {{2, 3, 4}}});
    check_op({.name = "chunk",
              .op = [=](Args a) { return chunk(a[0], 4, axis)[1]; },
              .reference = part,
              .inputs = {{2, 3, 4}}});
    Shape left{2, 3, 4};
    left.erase(axis);
    check_op({.name = "unbind",
              .op = [=](Args a) { return unbind(a[0], axis - 3)[1]; },
              .reference =
                  [=](Args a) {
                    Tensor y = empty(left, DType::f64);
                    for_each_index(left, [&](std::vector<i64> at) {
                      const std::vector<i64> to = at;
                      at.insert(at.begin() + axis, 1);
                      set_value(y, to, value_at(a[0], at));
                    });
                    return y;
                  },
              .inputs = {{2, 3, 4}}});
  }
  check_op(
      {.name = "unbind", .op = [](Args a) { return unbind(a[0], 0)[0] * unbind(a[0], 0)[1]; }, .inputs = {{2, 0}}});
  check_op({.name = "split_every", .op = [](Args a) { return split_every(a[0], 2, 1)[0]; }, .inputs = {{0, 3}}});
  CHECK_THROWS_WITH_AS(split_every(x, 0, 0), "split_every: size must be at least 1; got 0 for x [7, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(unbind(x, 2), "unbind: axis must be in [-2, 2); got 2 for x [7, 2]", ShapeError);
}

TEST_CASE("op: unbind: the gradients of all parts are joined once, none is placed into zeros of the whole") {
  const Tensor x = random_tensor({5, 2}, 1).requires_grad_();
  Tensor y = zeros({2}, DType::f64);
  for (const Tensor& part : unbind(x, 0)) y = y + part * part;
  struct Rules : Observer {
    std::vector<std::string> names;
    void rule_begins(const Node& node, std::span<const Tensor>) override { names.push_back(node.name); }
    i64 count(const char* name) const { return std::count(names.begin(), names.end(), name); }
  } rules;
  const Tensor dx = grad(y, {x}, ones({2}, DType::f64))[0];
  CHECK(rules.count("split") == 1);
  CHECK(rules.count("slice") == 0);
  CHECK(difference(dx, 2.0 * x.detach()) == 0);
}

TEST_CASE("op: roll: several axes, and the whole tensor") {
  check_op({.name = "roll",
            .op =
                [](Args a) {
                  return roll(a[0], std::vector<i64>{-1, 2, 5}, {1, 2, 1});
                },
            .reference =
                [](Args a) {
                  Tensor y = empty({2, 3, 4}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    set_value(y, {at[0], (at[1] + 4) % 3, (at[2] + 2) % 4}, value_at(a[0], at));
                  });
                  return y;
                },
            .inputs = {{2, 3, 4}}});
  check_op({.name = "roll",
            .op = [](Args a) { return roll(a[0], -2); },
            .reference =
                [](Args a) {
                  Tensor y = empty({3, 4}, DType::f64);
                  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
                    const i64 to = (at[0] * 4 + at[1] + 10) % 12;
                    set_value(y, {to / 4, to % 4}, value_at(a[0], at));
                  });
                  return y;
                },
            .inputs = {{3, 4}}});
  CHECK(roll(scalar(3), 1).item() == 3);
  CHECK(roll(zeros({0, 2}), 1).shape() == Shape{0, 2});
  CHECK(roll(arange(0, 3), std::numeric_limits<i64>::lowest()).to_vector<i64>() == std::vector<i64>{2, 0, 1});
  CHECK_THROWS_WITH_AS(roll(zeros({2, 3}), std::vector<i64>{1}, {0, 1}),
                       "roll: there must be a shift for every axis; got [1] for axes [0, 1] of x [2, 3]", ShapeError);
}
