#include "nn/moe/coordinate_descent.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/autodiff/anomaly.h"
#include "ops/autodiff/derivatives.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Options = CoordinateDescentOptions;
using Row = std::vector<double>;

constexpr double kInf = std::numeric_limits<double>::infinity();

// The iterations, for the elements of one row that are not masked.
Row naive_row(const Row& x, double k, const Options& o) {
  Row b, y;
  for (const double v : x) b.push_back(-v);
  double a = 0, eps = 0;
  for (i64 t = 0; t < o.iterations; ++t) {
    eps = std::max(o.eps, o.eps_first * std::pow(o.eps_decay, static_cast<double>(t)));
    double total = 0;
    for (std::size_t i = 0; i < x.size(); ++i) total += std::exp((x[i] + b[i]) / eps);
    a = eps * (std::log(k) - std::log(total));
    for (std::size_t i = 0; i < x.size(); ++i) b[i] = -std::max(x[i] + a, 0.0);
  }
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(std::exp((x[i] + a + b[i]) / eps));
  return y;
}

// What they converge to: min(1, e^((x + a) / eps)), with a found by halving an interval.
Row limit_row(const Row& x, double k, double eps) {
  const auto at = [&](double a) {
    Row y;
    for (const double v : x) y.push_back(std::min(1.0, std::exp((v + a) / eps)));
    return y;
  };
  double low = -100, high = 100;
  for (int t = 0; t < 200; ++t) {
    double total = 0;
    for (const double v : at((low + high) / 2)) total += v;
    (total < k ? low : high) = (low + high) / 2;
  }
  return at((low + high) / 2);
}

// A function of rows, of the elements of each row that are not masked; 0 for the others.
template <class F> Tensor by_rows(const Tensor& x, const Tensor& mask, F f) {
  Tensor y = zeros(x.shape(), DType::f64);
  for (i64 r = 0; r < x.dim(0); ++r) {
    Row in;
    std::vector<i64> columns;
    for (i64 i = 0; i < x.dim(1); ++i)
      if (!mask || value_at(mask, {r, i}) != 0) columns.push_back(i), in.push_back(value_at(x, {r, i}));
    const Row out = f(in);
    for (std::size_t i = 0; i < columns.size(); ++i) set_value(y, {r, columns[i]}, out[i]);
  }
  return y;
}
Tensor naive(const Tensor& x, double k, const Options& o = {}, const Tensor& mask = {}) {
  return by_rows(x, mask, [&](const Row& row) { return naive_row(row, k, o); });
}

Tensor truths(const Tensor& x) { return ne(x, scalar_like(0, x)); }
const Tensor& the_mask() {
  static const Tensor made = truths(tensor({{1, 0, 1, 1, 0}, {1, 1, 1, 1, 1}, {0, 0, 0, 0, 0}, {0, 0, 1, 0, 0}}));
  return made;
}

}  // namespace

TEST_CASE("coordinate_descent: equals its iterations in loops, with gradients of order 2") {
  for (const auto& [n, k] : {std::pair<i64, double>{1, 1}, {1, 0.5}, {4, 1}, {4, 2.25}, {4, 4}, {7, 3}})
    for (const Options& o : {Options{.iterations = 1, .eps = 0.5}, Options{.iterations = 6, .eps = 0.5},
                             Options{.iterations = 8, .eps = 0.3, .eps_first = 2, .eps_decay = 0.7}}) {
      CAPTURE(n);
      CAPTURE(k);
      check_op({.name = "coordinate_descent",
                .op = [k = k, o](Args a) { return coordinate_descent(a[0], k, {}, o); },
                .reference = [k = k, o](Args a) { return naive(a[0], k, o); },
                .inputs = {Input({3, n}, -1.5, 1.5)},
                .bf16 = false});  // bf16 gives f32
    }
}

TEST_CASE("coordinate_descent: the options' defaults, and leading axes are rows") {
  const Tensor x = random_tensor({2, 3, 6}, 3, 0, 1);
  const Tensor y = coordinate_descent(x, 2.25);
  CHECK_LE(difference(reshape(y, {6, 6}), naive(reshape(x, {6, 6}), 2.25, {.iterations = 20, .eps = 0.1})), 1e-13);
  CHECK_GT(difference(reshape(y, {6, 6}), naive(reshape(x, {6, 6}), 2.25, {.iterations = 19})), 1e-8);
  check_op({.name = "coordinate_descent",
            .op = [](Args a) { return coordinate_descent(a[0], 2.25); },
            .reference = [](Args a) { return naive(a[0], 2.25); },
            .inputs = {Input({3, 6}, 0, 1)},
            .bf16 = false});
}

TEST_CASE("coordinate_descent: converges to the y of largest sum(x y - eps y log y), and that sums to k") {
  const Tensor x = random_tensor({5, 8}, 4, -1, 1);
  for (const double k : {0.5, 1.0, 2.25, 5.0, 7.5}) {
    CAPTURE(k);
    const Tensor y = coordinate_descent(x, k, {}, {.iterations = 3000, .eps = 0.2});
    CHECK_LE(difference(y, by_rows(x, {}, [&](const Row& row) { return limit_row(row, k, 0.2); })), 1e-12);
    CHECK_LE(difference(sum(y, -1), full({5}, k, DType::f64)), 1e-12);
  }
}

TEST_CASE("coordinate_descent: on the way no y is above 1; where x >= 0 they sum to k or more") {
  const Tensor x = random_tensor({5, 8}, 4, -1, 1);
  for (const double k : {0.5, 1.0, 2.25, 5.0, 7.5})
    for (i64 t = 1; t <= 40; ++t) {
      const Options o{.iterations = t, .eps = 0.2};
      CHECK_LE(amax(coordinate_descent(x, k, {}, o)).item(), 1);
      CHECK_GE(amin(sum(coordinate_descent(abs(x), k, {}, o), -1)).item(), k - 1e-12);
    }
}

TEST_CASE("coordinate_descent: with eps -> 0 it is the hard top-k, sooner with an eps that shrinks") {
  const Tensor x = tensor({{0.9, -0.4, 0.3, -0.8, 0.1, 0.6, -0.1}, {-2.0, 1.0, 3.0, 0.5, 2.5, -1.0, 0.0}}, DType::f64);
  for (const i64 k : {1, 2, 3, 6}) {
    CAPTURE(k);
    const Tensor hard = cast(dense(sum(one_hot(top_k(x, k).indices, 7), -2)), DType::f64);
    const auto error = [&](const Options& o) { return amax(abs(coordinate_descent(x, k, {}, o) - hard)).item(); };
    double before = 1;
    for (const double eps : {0.2, 0.1, 0.05}) {
      const double now = error({.iterations = 10000, .eps = eps});
      CHECK_LT(now, before);
      before = now;
    }
    // e^(-gap / 2 eps) is below 1e-4 here. What t iterations leave goes to other elements: k / t in all.
    CHECK_LE(error({.iterations = 10000, .eps = 0.01}), static_cast<double>(k) * 1.1e-4);
    CHECK_GT(error({.iterations = 100, .eps = 0.01}), 0.99);
    CHECK_LE(error({.iterations = 100, .eps = 0.01, .eps_first = 4, .eps_decay = 0.94}), 2e-3);
  }
}

TEST_CASE("coordinate_descent: masked elements count for nothing and may hold anything; a masked row stays finite") {
  Tensor x = random_tensor({4, 5}, 6, -1, 1);
  const Tensor want = naive(x, 2, {}, the_mask());
  for (const double v : {0.0, kInf, -kInf, std::nan("")}) {
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      if (value_at(the_mask(), at) == 0) set_value(x, at, v);
    });
    CHECK_LE(difference(coordinate_descent(x, 2, the_mask()), want), 1e-13);
    Tensor leaf = cast(x, DType::f32).requires_grad_();
    const Tensor w = random_tensor({4, 5}, 7, -1, 1, DType::f32);
    const Tensor d = grad(sum(coordinate_descent(leaf, 2, the_mask()) * w), {leaf}, {.create_graph = true})[0];
    const Tensor dd = grad(sum(square(d)), {leaf})[0];
    for (const Tensor& t : {d, dd}) {
      CHECK(all(isfinite(t)).item() == 1);
      CHECK_EQ(amax(abs(masked_fill(t, the_mask(), 0))).item(), 0);
      CHECK_GT(amax(abs(t)).item(), 0);
    }
  }
  CHECK_EQ(amax(abs(want[2])).item(), 0);
  // No NaN on the way, either, which a `where` at the end would hide.
  {
    const AnomalyMode scope({.infinities = false});
    Tensor leaf = random_tensor({4, 5}, 6).requires_grad_();
    CHECK_NOTHROW(grad(sum(coordinate_descent(leaf, 2, the_mask())), {leaf}));
  }
  check_op({.name = "coordinate_descent",
            .op = [](Args a) { return coordinate_descent(a[0], 1.5, the_mask(), {.iterations = 6, .eps = 0.5}); },
            .reference = [](Args a) { return naive(a[0], 1.5, {.iterations = 6, .eps = 0.5}, the_mask()); },
            .inputs = {Input({4, 5}, -1, 1)},
            .bf16 = false});
}

TEST_CASE("coordinate_descent: k = n, fewer elements than k, ties") {
  // All of n: each is 1 from the first iteration on where x >= 0, and soon where it is not.
  CHECK_EQ(difference(coordinate_descent(random_tensor({3, 4}, 8, 0, 1), 4, {}, {.iterations = 1}),
                      ones({3, 4}, DType::f64)),
           0);
  CHECK_LE(difference(coordinate_descent(random_tensor({3, 4}, 8, -1, 1), 4, {}, {.iterations = 200}),
                      ones({3, 4}, DType::f64)),
           1e-12);
  const Tensor few = coordinate_descent(random_tensor({4, 5}, 9, -1, 1), 4, the_mask());
  for (const i64 i : {0, 2, 3}) CHECK_EQ(value_at(few, {0, i}), 1);
  CHECK_EQ(value_at(few, {3, 2}), 1);
  // Equal elements share: two of the three threes, then nothing is left.
  const Tensor y = coordinate_descent(tensor({{3, 1, 3, 3}, {0, 0, 0, 0}}, DType::f64), 2, {}, {.iterations = 400});
  for (const i64 i : {0, 2, 3}) CHECK_EQ(value_at(y, {0, i}), doctest::Approx(2.0 / 3));
  CHECK_LT(value_at(y, {0, 1}), 1e-8);
  for (i64 i = 0; i < 4; ++i) CHECK_EQ(value_at(y, {1, i}), doctest::Approx(0.5));
}

TEST_CASE("coordinate_descent: sizes 0 and 1, large numbers, bf16 in f32") {
  CHECK_EQ(coordinate_descent(zeros({0, 4}), 2).shape(), Shape{0, 4});
  CHECK_EQ(coordinate_descent(zeros({2, 0, 1}), 1).shape(), Shape{2, 0, 1});
  CHECK_EQ(coordinate_descent(tensor({-3.0}), 1).shape(), Shape{1});
  const Tensor x = random_tensor({3, 6}, 10, -1, 1, DType::bf16);
  const Tensor y = coordinate_descent(x, 2);
  CHECK_EQ(y.dtype(), DType::f32);
  CHECK_EQ(difference(y, coordinate_descent(cast(x, DType::f32), 2)), 0);
  for (const double size : {1e-30, 1e6, 1e20, 1e36}) {
    Tensor large = random_tensor({3, 6}, 11, -size, size, DType::f32).requires_grad_();
    const Tensor v = coordinate_descent(large, 2);
    CHECK_LE(amax(v).item(), 1);
    CHECK_GE(amin(v).item(), 0);
    CHECK(all(isfinite(grad(sum(square(v)), {large})[0])).item() == 1);
  }
}

TEST_CASE("coordinate_descent: errors") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 0),
                       "coordinate_descent: x must be [.., n] with k in (0, n]; got [2, 3], k = 0", ShapeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 3.5),
                       "coordinate_descent: x must be [.., n] with k in (0, n]; got [2, 3], k = 3.5", ShapeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, std::nan("")),
                       "coordinate_descent: x must be [.., n] with k in (0, n]; got [2, 3], k = nan", ShapeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(scalar(1), 1),
                       "coordinate_descent: x must be [.., n] with k in (0, n]; got [], k = 1", ShapeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(zeros({2, 0}), 1),
                       "coordinate_descent: x must be [.., n] with k in (0, n]; got [2, 0], k = 1", ShapeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(zeros({3}, DType::i64), 1),
                       "coordinate_descent: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 1, x), "coordinate_descent: x must be bool (mask); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 1, the_mask()),
                       "coordinate_descent: mask must have the shape of x [2, 3]; got [4, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 1, {}, {.iterations = 0}),
                       "coordinate_descent: iterations must be >= 1; got 0", Error);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 1, {}, {.eps = 0}),
                       "coordinate_descent: eps must be above 0 and finite; got 0", Error);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 1, {}, {.eps_first = -1}),
                       "coordinate_descent: eps_first must be >= 0 and finite; got -1", Error);
  CHECK_THROWS_WITH_AS(coordinate_descent(x, 1, {}, {.eps_decay = 1.5}),
                       "coordinate_descent: eps_decay must be in (0, 1]; got 1.5", Error);
}
