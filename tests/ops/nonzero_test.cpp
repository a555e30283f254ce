#include "ops/nonzero.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/choose.h"
#include "core/parallel.h"
#include "ops/compare.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Tensor random_mask(const Shape& shape, u64 seed) { return gt(random_tensor(shape, seed), zeros({}, DType::f64)); }

std::vector<i64> naive_nonzero(const Tensor& x) {
  std::vector<i64> positions;
  for_each_index(x.shape(), [&](const std::vector<i64>& at) {
    if (value_at(x, at) != 0) positions.insert(positions.end(), at.begin(), at.end());
  });
  return positions;
}

}  // namespace

TEST_CASE("op: nonzero: every dtype, ranks 0 to 3, strided, empty") {
  for (DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean})
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 4}, Shape{2, 3, 4}, Shape{0, 3}}) {
      const Tensor x = random_tensor(shape, 3, -2, 2, t);
      CAPTURE(to_string(shape));
      for (const Tensor& in : {x, strided_copy(x)}) {
        const Tensor y = nonzero(in);
        CHECK(y.dtype() == DType::i64);
        CHECK(y.dim(1) == shape.rank());
        CHECK(y.to_vector<i64>() == naive_nonzero(x));
      }
      check_op(
          {.name = "nonzero", .op = [](Args a) { return nonzero(a[0]); }, .inputs = {Input::fixed(x)}, .order = 0});
    }
  CHECK(nonzero(tensor({0, std::nan(""), -0.0})).to_vector<i64>() == std::vector<i64>{1});
  CHECK(nonzero(scalar(2)).shape() == Shape{1, 0});
}

TEST_CASE("op: nonzero: long tensors, the same for one, two and three threads") {
  const int threads = num_threads();
  const Tensor x = random_mask({700, 300}, 5);
  const std::vector<i64> expected = naive_nonzero(x);
  for (int count : {1, 2, 3}) {
    set_num_threads(count);
    CHECK(nonzero(x).to_vector<i64>() == expected);
  }
  set_num_threads(threads);
}

TEST_CASE("op: masked_select: both operands broadcast, order 2, strided, nothing and everything taken") {
  struct Case {
    Shape x, mask;
  };
  for (const Case& c : {Case{{2, 3, 4}, {2, 3, 4}}, Case{{2, 3}, {3}}, Case{{3, 1}, {2, 1, 4}}, Case{{}, {5}},
                        Case{{4}, {}}, Case{{0, 3}, {3}}}) {
    const Tensor random = random_mask(c.mask, 4);
    for (const Tensor& mask : {random, full(c.mask, 0, DType::boolean), full(c.mask, 1, DType::boolean)})
      check_op({.name = "masked_select",
                .op = [&](Args x) { return masked_select(x[0], x[1]); },
                .reference =
                    [&](Args x) {
                      std::vector<double> taken;
                      const Shape shape = broadcast("test", c.x, c.mask);
                      for_each_index(shape, [&](const std::vector<i64>& at) {
                        const auto own = [&](const Tensor& t) {
                          std::vector<i64> p(at.end() - t.rank(), at.end());
                          for (int i = 0; i < t.rank(); ++i)
                            if (t.shape()[i] == 1) p[static_cast<std::size_t>(i)] = 0;
                          return value_at(t, p);
                        };
                        if (own(x[1]) != 0) taken.push_back(own(x[0]));
                      });
                      return from_vector(taken, {static_cast<i64>(taken.size())});
                    },
                .inputs = {c.x, Input::fixed(mask)}});
  }
  const Tensor mask = tensor({1, 0, 1}, DType::boolean);
  CHECK(masked_select(tensor({4, 5, 6}, DType::i32), mask).to_vector<i32>() == std::vector<i32>{4, 6});
  CHECK(masked_select(mask, mask).to_vector<i64>() == std::vector<i64>{1, 1});
}

TEST_CASE("op: masked_select and nonzero: a tape records which elements were meant, and replays them") {
  RouteTape tape;
  const Tensor x = tensor({3, 1, 2}, DType::f64);
  {
    TapeScope scope(tape, TapeMode::measure);
    masked_select(x, tensor({1, 0, 1}, DType::boolean));
    nonzero(tensor({0, 1}));
  }
  CHECK(tape.choices()[0].name == "masked_select");
  CHECK(tape.choices()[1].name == "nonzero");
  CHECK(tape.margin() == INFINITY);
  TapeScope scope(tape, TapeMode::replay);
  CHECK(masked_select(x, tensor({0, 0, 0}, DType::boolean)).to_vector<double>() == std::vector<double>{3, 2});
}

TEST_CASE("op: bincount: counts and weights, order 2; -1 is counted nowhere") {
  const Tensor index = tensor({{3, 0, 3}, {-1, 1, 3}}, DType::i64);
  CHECK(bincount(index).to_vector<i64>() == std::vector<i64>{1, 1, 0, 3});
  CHECK(bincount(index, 6).to_vector<i64>() == std::vector<i64>{1, 1, 0, 3, 0, 0});
  CHECK(bincount(tensor({2}, DType::i32)).dtype() == DType::i64);
  CHECK(bincount(zeros({0}, DType::i64)).shape() == Shape{0});
  CHECK(bincount(zeros({0}, DType::i64), 2).to_vector<i64>() == std::vector<i64>{0, 0});
  CHECK(bincount(tensor({-1}, DType::i64)).shape() == Shape{0});
  CHECK(bincount(index, ones({2, 3}, DType::i32)).to_vector<i32>() == std::vector<i32>{1, 1, 0, 3});
  check_op({.name = "bincount",
            .op = [&](Args x) { return bincount(index, x[0], 5); },
            .reference =
                [&](Args x) {
                  Tensor y = zeros({5}, DType::f64);
                  for_each_index(index.shape(), [&](const std::vector<i64>& at) {
                    const i64 c = static_cast<i64>(value_at(index, at));
                    if (c >= 0) set_value(y, {c}, value_at(y, {c}) + value_at(x[0], at));
                  });
                  return y;
                },
            .inputs = {{2, 3}}});
  check_op({.name = "bincount",
            .op =
                [](Args x) {
                  return bincount(zeros({2, 0}, DType::i64), x[0], 2);
                },
            .inputs = {{2, 0}}});
}

TEST_CASE("op: nonzero family: error texts") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(masked_select(x, x), "masked_select: x must be bool (the mask); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(
      masked_select(x, zeros({4}, DType::boolean)),
      "masked_select: sizes must match or be 1, from the last axis on; got a [2, 3] and b [4] (3 != 4)", ShapeError);
  CHECK_THROWS_WITH_AS(bincount(x), "bincount: x must be i64 or i32 (an index); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(bincount(tensor({1, -2}, DType::i64)),
                       "bincount: values must be in [-1, 2^61]; got -2 in index [2]", IndexError);
  const Tensor ends = from_vector(std::vector<i64>{std::numeric_limits<i64>::max()}, {1});
  CHECK_THROWS_WITH_AS(bincount(ends), "bincount: values must be in [-1, 2^61]; got 9223372036854775807 in index [1]",
                       IndexError);
  const Tensor index = zeros({2}, DType::i64);
  CHECK_THROWS_WITH_AS(bincount(index, -1), "bincount: least must be >= 0; got -1", ShapeError);
  CHECK_THROWS_WITH_AS(bincount(index, x), "bincount: weights must have the shape of index; got [2, 3] and [2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(bincount(index, zeros({2}, DType::boolean)),
                       "bincount: x must be a number (the weights); got bool", DTypeError);
}
