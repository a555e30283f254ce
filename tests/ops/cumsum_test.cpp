#include "ops/cumsum.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
auto naive_cumsum(int axis_any, CumsumOptions o) {
  return [=](Args a) {
    const auto axis = static_cast<std::size_t>(axis_any < 0 ? axis_any + a[0].rank() : axis_any);
    const i64 n = a[0].dim(axis_any);
    Tensor y = empty(a[0].shape(), DType::f64);
    for_each_index(y.shape(), [&](const std::vector<i64>& at) {
      double total = 0;
      std::vector<i64> from = at;
      for (i64 i = 0; i < n; ++i) {
        from[axis] = i;
        const bool counts = o.reverse ? i > at[axis] : i < at[axis];
        if (counts || (i == at[axis] && !o.exclusive)) total += value_at(a[0], from);
      }
      set_value(y, at, total);
    });
    return y;
  };
}
}  // namespace

TEST_CASE("cumsum: both directions, inclusive and exclusive, every axis, order 2, strided") {
  for (bool reverse : {false, true})
    for (bool exclusive : {false, true}) {
      const CumsumOptions o{reverse, exclusive};
      for (const auto& [shape, axis] : {std::pair<Shape, int>{{5}, 0},
                                        {{1}, 0},
                                        {{0}, 0},
                                        {{3, 4}, 0},
                                        {{3, 4}, -1},
                                        {{2, 3, 4}, 1},
                                        {{2, 0, 3}, 1},
                                        {{2, 3, 0}, 1},
                                        {{1, 3, 1}, 1}})
        check_op({.name = "cumsum",
                  .op = [&](Args x) { return cumsum(x[0], axis, o); },
                  .reference = naive_cumsum(axis, o),
                  .inputs = {shape}});
    }
}

TEST_CASE("cumsum: integers and bool give i64, which wraps around") {
  for (DType t : {DType::i32, DType::i64, DType::boolean}) {
    const Tensor y = cumsum(tensor({1, 0, 1, 1}, t), 0);
    CHECK(y.dtype() == DType::i64);
    CHECK(y.to_vector<i64>() == std::vector<i64>{1, 1, 2, 3});
  }
  CHECK(cumsum(tensor({-3, 1}, DType::i32), 0).to_vector<i64>() == std::vector<i64>{-3, -2});
  CHECK(cumsum(full({2}, 0x1p62, DType::i64), 0).to_vector<i64>()[1] == -(i64{1} << 62) * 2);
}

TEST_CASE("cumsum: long rows, wide and narrow blocks: exact for integers, the same bits for any number of threads") {
  const int threads = num_threads();
  const bool on_cpu = default_device() == Device::cpu;
  const i64 length = on_cpu ? 10000 : 1000;  // a GPU cuts rows into shorter chunks
  const Shape shapes[] = {{1, 30 * length}, {30 * length, 1}, {20 * length, 3},  {3, 10 * length},
                          {2000, 300},      {40, 3000},       {4, 5 * length, 2}};
  const std::vector<int> more_threads = on_cpu ? std::vector<int>{2, 3} : std::vector<int>{2};  // there, a second run
  for (const Shape& shape : shapes)
    for (int axis = 0; axis < shape.rank(); ++axis)
      for (bool reverse : {false, true}) {
        CAPTURE(to_string(shape));
        CAPTURE(axis);
        const CumsumOptions o{reverse, reverse};
        const Tensor x = random_tensor(shape, 1), whole = random_tensor(shape, 2, -1000, 1000, DType::i64);
        set_num_threads(1);
        const std::vector<double> y = cumsum(x, axis, o).to_vector<double>();
        const std::vector<i64> sums = cumsum(whole, axis, o).to_vector<i64>();
        // Each sum is the one before it and one element; the first is that element.
        const std::vector<i64> w = whole.to_vector<i64>();
        i64 step = 1, n = shape[axis], wrong = 0;
        for (int i = axis + 1; i < shape.rank(); ++i) step *= shape[i];
        for (i64 i = 0; i < static_cast<i64>(w.size()); ++i) {
          const i64 at = i / step % n;
          const bool first = reverse ? at == n - 1 : at == 0;
          const i64 before = first ? 0 : i + (reverse ? step : -step);
          const i64 expected =
              (first ? 0 : sums[static_cast<std::size_t>(before)]) +
              (o.exclusive ? (first ? 0 : w[static_cast<std::size_t>(before)]) : w[static_cast<std::size_t>(i)]);
          wrong += expected != sums[static_cast<std::size_t>(i)];
        }
        CHECK(wrong == 0);
        for (int count : more_threads) {
          set_num_threads(count);
          CHECK(cumsum(x, axis, o).to_vector<double>() == y);
        }
      }
  set_num_threads(threads);
}

TEST_CASE("cumsum: f32 sums keep their precision") {
  const Tensor y = cumsum(full({1 << 20}, 0.1), 0);
  CHECK(y.to_vector<float>().back() == doctest::Approx(0.1f * 1048576.0).epsilon(1e-7));
}

TEST_CASE("cumsum: error texts") {
  CHECK_THROWS_WITH_AS(cumsum(zeros({2, 3}), 2), "cumsum: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(cumsum(scalar(1), 0), "cumsum: axis must be in [0, 0); got 0 for x []", ShapeError);
}
