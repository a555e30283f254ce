#include "ops/gather.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/concat.h"
#include "ops/slice.h"
#include "ops/sort.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

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

TEST_CASE("op: take_along: forward, scatter gradient, second order; repeated and empty indices") {
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

TEST_CASE("op: index_select and embedding: whole slices") {
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

TEST_CASE("op: gather: what is wrong is named") {
  const Tensor x = zeros({4, 8});
  CHECK_THROWS_WITH_AS(take_along(x, 2, zeros({4, 8}, DType::i64)),
                       "take_along: axis must be in [-2, 2); got 2 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(take_along(x, 1, zeros({3, 2}, DType::i64)),
                       "take_along: sizes of x and index must match or be 1 but along axis 1; got index [3, 2] for x "
                       "[4, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((take_along(x, 1, full({4, 1}, 8, DType::i64)), settle()),
                       bad_value("take_along: values must be in [-1, 8); got 8", " at element 0 of index [4, 1]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(take_along(x, 1, zeros({4, 1})), "take_along: x must be i64 or i32 (an index); got f32",
                       DTypeError);
  CHECK_THROWS_WITH_AS(embedding(zeros({4}), zeros({2}, DType::i64)), "embedding: weight must be [V, D]; got [4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((embedding(x, full({2}, 4, DType::i64)), settle()),
                       bad_value("embedding: values must be in [-1, 4); got 4", " at element 0 of index [2]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(embedding(x, zeros({2}, DType::i64), {.padding = 4}),
                       "embedding: padding must be in [0, 4); got 4", IndexError);
  CHECK_THROWS_WITH_AS(embedding(x, zeros({2}, DType::i64), {.padding = -1}),
                       "embedding: padding must be in [0, 4); got -1", IndexError);
  CHECK_THROWS_WITH_AS(gather(x, 1, zeros({5, 2}, DType::i64)),
                       "gather: index must be no larger than x along every axis but 1; got index [5, 2] and x [4, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gather(x, 0, zeros({2}, DType::i64)),
                       "gather: index must be no larger than x along every axis but 0; got index [2] and x [4, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((gather(x, 0, full({2, 3}, -2, DType::i64)), settle()),
                       bad_value("gather: values must be in [-1, 4); got -2", " at element 0 of index [2, 3]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(index_select(x, 0, zeros({2}, DType::boolean)),
                       "index_select: x must be i64 or i32 (an index); got bool", DTypeError);
  const Tensor two = tensor({0, 1}, DType::i64), three = tensor({0, 1, 2}, DType::i64);
  CHECK_THROWS_WITH_AS(index_at(x, {two, three}),
                       "index_at: sizes must match or be 1, from the last axis on; got a [2] and b [3] (2 != 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(index_at(x, {}), "index_at: there must be from 1 to 2 indices; got 0 for x [4, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(index_at(x, {two, two, two}), "index_at: there must be from 1 to 2 indices; got 3 for x [4, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((index_at(x, {two, full({2}, 8, DType::i64)}), settle()),
                       bad_value("index_at: values must be in [-1, 8); got 8", " at element 0 of index [2]"),
                       IndexError);
  CHECK_THROWS_WITH_AS((wrap_index(tensor({0, -5}, DType::i64), 4), settle()),
                       bad_value("wrap_index: values must be in [-4, 4); got -5", " at element 1 of index [2]"),
                       IndexError);
  CHECK_THROWS_WITH_AS(wrap_index(tensor({0.5}), 4), "wrap_index: x must be i64 or i32 (an index); got f32",
                       DTypeError);
}

TEST_CASE("op: take_along and gather: an index that broadcasts, x that broadcasts, an index smaller than x") {
  struct Case {
    Shape x, index;
    int axis;
  };
  for (const Case& c : {Case{{2, 3, 4}, {1, 2, 4}, 1}, Case{{2, 3, 4}, {1, 5, 1}, 1}, Case{{1, 3, 1}, {2, 2, 4}, 1},
                        Case{{3, 1}, {1, 4}, 0}, Case{{0, 3}, {1, 2}, 1}}) {
    const Tensor index = random_index(c.index, c.x[c.axis], 6);
    check_op({.name = "take_along",
              .op = [&](Args x) { return take_along(x[0], c.axis, index); },
              .reference =
                  [&](Args x) {
                    Shape shape = x[0].shape();
                    shape[c.axis] = c.index[c.axis];
                    shape = broadcast("test", shape, c.index);
                    Tensor y = zeros(shape, DType::f64);
                    for_each_index(shape, [&](const std::vector<i64>& at) {
                      std::vector<i64> from = at, which = at;
                      for (int i = 0; i < shape.rank(); ++i) {
                        const auto k = static_cast<std::size_t>(i);
                        if (x[0].shape()[i] == 1) from[k] = 0;
                        if (c.index[i] == 1) which[k] = 0;
                      }
                      from[static_cast<std::size_t>(c.axis)] = static_cast<i64>(value_at(index, which));
                      if (from[static_cast<std::size_t>(c.axis)] >= 0) set_value(y, at, value_at(x[0], from));
                    });
                    return y;
                  },
              .inputs = {c.x}});
  }
  for (const Case& c : {Case{{3, 5}, {2, 4}, 1}, Case{{3, 5}, {7, 2}, 0}, Case{{2, 3, 4}, {1, 6, 2}, 1},
                        Case{{3, 5}, {3, 5}, 1}, Case{{3, 5}, {0, 4}, 1}, Case{{4}, {1}, 0}}) {
    const Tensor index = random_index(c.index, c.x[c.axis], 8);
    check_op({.name = "gather",
              .op = [&](Args x) { return gather(x[0], c.axis - c.x.rank(), index); },
              .reference = [&](Args x) { return naive_take_along(x[0], c.axis, index); },
              .inputs = {c.x}});
  }
}

TEST_CASE("op: index_at: positions of several axes taken together, with broadcasting, repetitions and empty entries") {
  const Tensor i = random_index({2, 1}, 4, 1), j = random_index({3}, 5, 2), k = random_index({2, 3}, 3, 3);
  const auto naive = [](const std::vector<Tensor>& indices, const Shape& entries) {
    return [=](Args x) {
      Shape shape = entries;
      const int count = static_cast<int>(indices.size());
      for (int a = count; a < x[0].rank(); ++a) shape.push_back(x[0].shape()[a]);
      Tensor y = zeros(shape, DType::f64);
      for_each_index(shape, [&](const std::vector<i64>& at) {
        std::vector<i64> from;
        bool empty_entry = false;
        for (const Tensor& t : indices) {
          std::vector<i64> own(at.begin() + entries.rank() - t.rank(), at.begin() + entries.rank());
          for (int a = 0; a < t.rank(); ++a)
            if (t.shape()[a] == 1) own[static_cast<std::size_t>(a)] = 0;
          from.push_back(static_cast<i64>(value_at(t, own)));
          empty_entry = empty_entry || from.back() < 0;
        }
        from.insert(from.end(), at.begin() + entries.rank(), at.end());
        if (!empty_entry) set_value(y, at, value_at(x[0], from));
      });
      return y;
    };
  };
  check_op({.name = "index_at",
            .op = [&](Args x) { return index_at(x[0], {i}); },
            .reference = naive({i}, {2, 1}),
            .inputs = {{4, 5, 3}}});
  check_op({.name = "index_at",
            .op =
                [&](Args x) {
                  return index_at(x[0], {i, j});
                },
            .reference = naive({i, j}, {2, 3}),
            .inputs = {{4, 5, 3}}});
  check_op({.name = "index_at",
            .op =
                [&](Args x) {
                  return index_at(x[0], {i, j, k});
                },
            .reference = naive({i, j, k}, {2, 3}),
            .inputs = {{4, 5, 3}}});
  const Tensor none = zeros({0}, DType::i64), at = scalar(2, DType::i64);
  check_op({.name = "index_at", .op = [&](Args x) { return index_at(x[0], {none, none}); }, .inputs = {{4, 5, 3}}});
  CHECK(index_at(arange(0, 6), {at}).item() == 2);
}

TEST_CASE("op: embedding: the padding row is read and gets no gradient") {
  const Tensor index = tensor({{0, 2, 1}, {2, -1, 0}}, DType::i64);
  const Tensor weight = random_tensor({3, 2}, 1).requires_grad_();
  const Tensor y = embedding(weight, index, {.padding = 2});
  CHECK(y.to_vector<double>() == embedding(weight, index).to_vector<double>());
  const std::vector<double> g = grad(y, {weight}, ones(y.shape(), DType::f64))[0].to_vector<double>();
  CHECK(g == std::vector<double>{2, 2, 1, 1, 0, 0});
  check_op({.name = "embedding",
            .op =
                [&](Args x) {
                  const Tensor whole = concat({slice(x[0], 0, {0, 2}), ones({1, 2}, x[0].dtype())}, 0);
                  return embedding(whole, index, {.padding = 2});
                },
            .inputs = {{3, 2}}});
}

TEST_CASE("op: gather family: every dtype, i32 indices, NaN and the ends of the integers are copied as they are") {
  const Tensor index = tensor({2, -1, 0, 2}, DType::i32);
  for (DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean}) {
    const Tensor x = tensor({{1, 0}, {0, 1}, {1, 1}}, t), rows = tensor({{1, 1}, {0, 0}, {1, 0}, {1, 1}}, t);
    CAPTURE(name(t));
    CHECK(index_select(x, 0, index).dtype() == t);
    CHECK(index_select(x, 0, index).to_vector<double>() == rows.to_vector<double>());
    CHECK(index_at(x, {index}).to_vector<double>() == rows.to_vector<double>());
    CHECK(embedding(x, index, {.padding = 1}).to_vector<double>() == rows.to_vector<double>());
    CHECK(index_select(transpose(x), 1, index).to_vector<double>() == transpose(rows).to_vector<double>());
    CHECK(gather(x, 0, unsqueeze(index, 1)).to_vector<double>() == std::vector<double>{1, 0, 1, 1});
    CHECK(take_along(x, 0, unsqueeze(index, 1)).to_vector<double>() == rows.to_vector<double>());
  }
  const i64 low = std::numeric_limits<i64>::lowest(), most = std::numeric_limits<i64>::max();
  const Tensor ends = from_vector(std::vector<i64>{low, most, most - 1}, {3});
  CHECK(index_select(ends, 0, index).to_vector<i64>() == std::vector<i64>{most - 1, 0, low, most - 1});
  CHECK(std::isnan(index_select(tensor({std::nan(""), 1}), 0, tensor({0}, DType::i64)).item()));
  std::vector<bf16> every;
  for (int i = 0; i < 1 << 16; ++i) every.push_back(bf16::from_bits(static_cast<std::uint16_t>(i)));
  const Tensor copies = index_select(from_vector(every, {1 << 16}), 0, arange(0xffff, -1, -1));
  const std::vector<bf16> got = copies.to_vector<bf16>();
  i64 changed = 0;  // a NaN by way of f32 would have become a quiet one
  for (int i = 0; i < 1 << 16; ++i) changed += got[static_cast<std::size_t>(i)].bits != 0xffff - i;
  CHECK(changed == 0);
}

TEST_CASE("op: wrap_index: negative positions count from the end") {
  const Tensor index = tensor({{0, -1}, {-4, 3}}, DType::i32), y = wrap_index(index, 4);
  CHECK(y.dtype() == DType::i64);
  CHECK(y.to_vector<i64>() == std::vector<i64>{0, 3, 0, 3});
  CHECK(wrap_index(zeros({0}, DType::i64), 0).size() == 0);
  const i64 low = std::numeric_limits<i64>::lowest();
  const Tensor least = from_vector(std::vector<i64>{low}, {1});
  CHECK_THROWS_WITH_AS(wrap_index(least, low), "wrap_index: n must be >= 0; got -9223372036854775808", ShapeError);
  CHECK_THROWS_WITH_AS(wrap_index(index, -1), "wrap_index: n must be >= 0; got -1", ShapeError);
  CHECK_THROWS_WITH_AS(
      (wrap_index(least, 4), settle()),
      bad_value("wrap_index: values must be in [-4, 4); got -9223372036854775808", " at element 0 of index [1]"),
      IndexError);
}

TEST_CASE("op: gather family: tensors of as many axes as there can be") {
  const Shape shape{1, 1, 2, 1, 1, 1, 3, 1, 1, 1, 1, 2}, line{12};
  const Tensor x = reshape(arange(0, 12, 1, DType::f64), shape), index = random_index(shape, 2, 3);
  const auto naive = [&](Args a) { return naive_take_along(a[0], 11, index); };
  check_op({.name = "take_along",
            .op = [&](Args a) { return take_along(a[0], -1, index); },
            .reference = naive,
            .inputs = {shape}});
  check_op(
      {.name = "gather", .op = [&](Args a) { return gather(a[0], 11, index); }, .reference = naive, .inputs = {shape}});
  CHECK(index_select(reshape(x, line), 0, reshape(arange(0, 12), shape)).shape() == shape);
  const auto [values, order] = sort(x, 6, true);
  CHECK(value_at(values, {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}) == 11);
  CHECK(top_k(x, 1, 2).values.to_vector<double>() == slice(x, 2, {1, 2}).to_vector<double>());
  CHECK(max_along(x, 11).values.shape().rank() == 11);
}

TEST_CASE("gather: size 0 of each; index_select names itself") {
  const Tensor none = zeros({0}, DType::i64), two = tensor({1, -1}, DType::i64);
  check_op({.name = "index_select",
            .op = [](Args x) { return index_select(x[0], 0, x[1]); },
            .inputs = {{3, 2}, Input::fixed(none)}});
  check_op({.name = "index_select",
            .op = [](Args x) { return index_select(x[0], 0, x[1]); },
            .inputs = {{3, 0}, Input::fixed(two)}});
  check_op({.name = "embedding",
            .op = [](Args x) { return embedding(x[0], x[1]); },
            .inputs = {{3, 2}, Input::fixed(none)}});
  check_op(
      {.name = "embedding", .op = [](Args x) { return embedding(x[0], x[1]); }, .inputs = {{3, 0}, Input::fixed(two)}});
  CHECK_THROWS_WITH_AS((index_select(zeros({4, 8}), 0, full({2}, 4, DType::i64)), settle()),
                       bad_value("index_select: values must be in [-1, 4); got 4", " at element 0 of index [2]"),
                       IndexError);
}

TEST_CASE("gather: strided indices are read as they lie") {
  const Tensor index = random_index({4, 3}, 5, 2);
  check_op({.name = "take_along",
            .op = [](Args x) { return take_along(x[0], 0, x[1]); },
            .inputs = {{5, 3}, Input::fixed(index)}});
  check_op({.name = "index_select",
            .op = [](Args x) { return index_select(x[0], 1, x[1]); },
            .inputs = {{2, 5, 3}, Input::fixed(index)}});
  check_op({.name = "embedding",
            .op = [](Args x) { return embedding(x[0], x[1]); },
            .inputs = {{5, 2}, Input::fixed(index)}});
}

TEST_CASE("op: gather, index_at, wrap_index: tables as inputs, strided, broadcast and empty") {
  const Tensor i = tensor({{0, 2}, {1, -1}, {3, 3}}, DType::i64), column = tensor({{1}, {0}, {-1}}, DType::i64);
  const auto pairs = [](Args x) { return index_at(x[0], {x[1], x[2]}); };
  check_op({.name = "index_at", .op = pairs, .inputs = {{4, 5, 2}, Input::fixed(i), Input::fixed(column)}});
  check_op({.name = "index_at", .op = pairs, .inputs = {{4, 5, 0}, Input::fixed(i), Input::fixed(i)}});
  const auto along = [](Args x) { return take_along(x[0], 1, x[1]); };
  check_op({.name = "take_along", .op = along, .inputs = {{3, 4}, Input::fixed(i)}});
  check_op({.name = "take_along", .op = along, .inputs = {{1, 4}, Input::fixed(i)}});
  const auto rows = [](Args x) { return gather(x[0], 1, x[1]); };
  check_op({.name = "gather", .op = rows, .inputs = {{5, 4}, Input::fixed(i)}});
  check_op({.name = "gather", .op = rows, .inputs = {{3, 4}, Input::fixed(zeros({3, 0}, DType::i64))}});
  for (const Tensor& x : {i, zeros({0, 2}, DType::i64)})
    check_op({.name = "wrap_index",
              .op = [](Args a) { return wrap_index(a[0], 4); },
              .reference = naive_map([](const std::vector<double>& v) { return v[0] < 0 ? v[0] + 4 : v[0]; }),
              .inputs = {Input::fixed(x)},
              .order = 0});
}
