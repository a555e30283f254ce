#include "ops/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "core/philox.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("random_uniform: element i is number i of the draw, inside [low, high)") {
  Random stream(7);
  stream.next();
  stream.advance();
  stream.next();
  stream.next();
  const Draw draw = stream.next();  // seed 7, step 1, number 2
  for (const i64 n : {0, 1, 3, 4, 5, 1001}) {
    const auto y = random_uniform({n}, -2, 3, draw).to_vector<float>();
    const auto z = random_uniform({n}, -2, 3, draw, DType::f64).to_vector<double>();
    for (i64 i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      CHECK(y[at] == doctest::Approx(-2 + 5 * random::uniform<float>(7, 2, 1, i)).epsilon(1e-6));
      CHECK(z[at] == doctest::Approx(-2 + 5 * random::uniform<double>(7, 2, 1, i)).epsilon(1e-14));
      CHECK((y[at] >= -2 && y[at] < 3));
    }
  }
}

TEST_CASE("random_normal: mean, deviation and tails of 10^6 numbers; the same bits for any number of threads") {
  Random stream(1);
  const Draw draw = stream.next();
  const Tensor y = random_normal({1000, 1000}, 3, 2, draw, DType::f64);
  double sum = 0, square = 0, fourth = 0, beyond = 0;
  for (const double v : y.to_vector<double>()) {
    const double z = (v - 3) / 2;
    sum += z, square += z * z, fourth += z * z * z * z;
    beyond += std::abs(z) > 2;
  }
  CHECK(std::abs(sum / 1e6) < 4e-3);                 // 4 standard errors of 1e-3
  CHECK(std::abs(square / 1e6 - 1) < 6e-3);          // sqrt(2) 1e-3 each
  CHECK(std::abs(fourth / 1e6 - 3) < 4e-2);          // sqrt(96) 1e-3 each
  CHECK(std::abs(beyond / 1e6 - 0.0455003) < 9e-4);  // 2.1e-4 each
  const int before = num_threads();
  set_num_threads(1);
  CHECK(random_normal({1000, 1000}, 3, 2, draw, DType::f64).to_vector<double>() == y.to_vector<double>());
  set_num_threads(before);
  for (const float v : random_normal({100003}, 0, 1, draw).to_vector<float>()) CHECK(std::isfinite(v));
}

TEST_CASE("random: draws differ by number and step, and repeat by name") {
  Random stream(5);
  const Draw first = stream.next(), second = stream.next();
  const auto values = [](const Draw& d) { return random_uniform({8}, 0, 1, d).to_vector<float>(); };
  CHECK(values(first) == values(first));
  CHECK(values(first) != values(second));
  stream.advance();
  CHECK(values(stream.next()) != values(first));
  CHECK_THROWS_WITH_AS(random_uniform({2}, 1, 0, first),
                       "random_uniform: low <= high and high - low must be finite in f32; got 1 and 0", Error);
  CHECK_THROWS_WITH_AS(random_normal({2}, 0, -1, first),
                       "random_normal: mean and deviation >= 0 must be finite in f32; got 0 and -1", Error);
  CHECK_THROWS_WITH_AS(random_uniform({2}, 0, 1e300, first),
                       "random_uniform: low <= high and high - low must be finite in f32; got 0 and 1e+300", Error);
  CHECK_THROWS_WITH_AS(random_uniform({2}, -3e38, 3e38, first),
                       "random_uniform: low <= high and high - low must be finite in f32; got -3e+38 and 3e+38", Error);
  CHECK_THROWS_WITH_AS(random_uniform({2}, 0, 3.4e38, first, DType::bf16),
                       "random_uniform: low <= high and high - low must be finite in bf16; got 0 and 3.4e+38", Error);
  CHECK_THROWS_WITH_AS(random_normal({2}, -1e300, 1, first),
                       "random_normal: mean and deviation >= 0 must be finite in f32; got -1e+300 and 1", Error);
  CHECK_THROWS_WITH_AS(random_normal({2}, 0, 3.4e38, first, DType::bf16),
                       "random_normal: mean and deviation >= 0 must be finite in bf16; got 0 and 3.4e+38", Error);
  CHECK(random_uniform({1}, 0, 1e300, first, DType::f64).item() > 0);
  CHECK_THROWS_WITH_AS(random_normal({2}, 0, 1, first, DType::i64),
                       "random_normal: x must be f32, f64 or bf16; got i64", DTypeError);
}

TEST_CASE("random_uniform and random_normal: numbers of their draw, one by one, f32 and f64") {
  Random stream(11);
  const Draw draw = stream.next();
  for (DType t : {DType::f32, DType::f64}) {
    check_op({.name = "random_uniform",
              .op =
                  [&](Args) {
                    return random_uniform({3, 5}, -1, 1, draw, t);
                  },
              .reference =
                  [&](Args) {
                    Tensor y = empty({3, 5}, DType::f64);
                    for (i64 i = 0; i < 15; ++i)
                      y.data<double>()[i] =
                          -1 + 2 * (t == DType::f32 ? static_cast<double>(random::uniform<float>(11, 0, 0, i))
                                                    : random::uniform<double>(11, 0, 0, i));
                    return y;
                  },
              .order = 0,
              .value_tolerance = 1e-6,
              .f32 = false});
    check_op({.name = "random_normal",
              .op =
                  [&](Args) {
                    return random_normal({3, 5}, 1, 2, draw, t);
                  },
              .reference =
                  [&](Args) {
                    Tensor y = empty({3, 5}, DType::f64);
                    for (i64 i = 0; i < 15; ++i)
                      y.data<double>()[i] =
                          1 + 2 * (t == DType::f32 ? static_cast<double>(random::normal<float>(11, 0, 0, i))
                                                   : random::normal<double>(11, 0, 0, i));
                    return y;
                  },
              .order = 0,
              .value_tolerance = 1e-6,
              .f32 = false});
  }
}

TEST_CASE("random: bf16 is f32 rounded, and uniform numbers stay below the upper end") {
  Random random(5);
  const Draw draw = random.next();
  const Tensor x = random_uniform({20000}, -1, 1, draw, DType::bf16), z = random_normal({100}, 2, 3, draw, DType::bf16);
  CHECK(difference(cast(x, DType::f32), random_uniform({20000}, -1, 1, draw)) <= 0x1p-8);
  CHECK(difference(z, cast(random_normal({100}, 2, 3, draw), DType::bf16)) == 0);
  CHECK(amax(x).item() == 1 - 0x1p-8);  // the largest below 1: some are rounded to 1 otherwise
  CHECK(amin(x).item() >= -1);
  CHECK(amax(random_uniform({20000}, -3, -1, draw, DType::bf16)).item() == -1 - 0x1p-7);
  CHECK(amax(random_uniform({20000}, -1, 0, draw, DType::bf16)).item() < 0);
  CHECK(random_uniform({3}, 2, 2, draw, DType::bf16).to_vector<float>() == std::vector<float>{2, 2, 2});
}

TEST_CASE("op: random_integers: in range, equally likely, by name; the same for any number of threads") {
  Random stream(3);
  const Draw draw = stream.next(), other = stream.next();
  const std::vector<i64> y = random_integers({200000}, -2, 3, draw).to_vector<i64>();
  std::vector<double> count(5, 0);
  for (const i64 v : y) {
    REQUIRE((v >= -2 && v < 3));
    count[static_cast<std::size_t>(v + 2)] += 1;
  }
  for (const double c : count) CHECK(std::abs(c - 40000) < 4 * 179);  // 4 standard deviations, sqrt(2e5 0.2 0.8)
  CHECK(random_integers({200000}, -2, 3, draw, DType::i32).to_vector<i64>() == y);
  CHECK(random_integers({8}, 0, 1000, draw).to_vector<i64>() != random_integers({8}, 0, 1000, other).to_vector<i64>());
  CHECK(random_integers({3, 0}, 0, 5, draw).shape() == Shape{3, 0});
  CHECK(random_integers({2}, 7, 8, draw).to_vector<i64>() == std::vector<i64>{7, 7});
  const int before = num_threads();
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    CHECK(random_integers({200000}, -2, 3, draw).to_vector<i64>() == y);
  }
  set_num_threads(before);
  const i64 low = std::numeric_limits<i64>::lowest(), most = std::numeric_limits<i64>::max();
  bool negative = false, positive = false;
  for (const i64 v : random_integers({100}, low, most, draw).to_vector<i64>()) (v < 0 ? negative : positive) = true;
  CHECK((negative && positive));
  CHECK_THROWS_WITH_AS(random_integers({2}, 3, 3, draw),
                       "random_integers: low < high must be in the range of i64; got 3 and 3", Error);
  CHECK_THROWS_WITH_AS(random_integers({2}, 0, i64{1} << 40, draw, DType::i32),
                       "random_integers: low < high must be in the range of i32; got 0 and 1099511627776", Error);
  CHECK_THROWS_WITH_AS(random_integers({2}, 0, 3, draw, DType::f32), "random_integers: x must be i32 or i64; got f32",
                       DTypeError);
}

TEST_CASE("op: random_permutation: every number once, every order of three equally likely") {
  Random stream(4);
  std::vector<double> seen(6, 0);
  for (int i = 0; i < 6000; ++i) {
    const auto y = random_permutation(3, stream.next()).to_vector<i64>();
    CHECK(y[0] + y[1] + y[2] == 3);
    CHECK(y[0] * y[1] + y[1] * y[2] + y[2] * y[0] == 2);
    seen[static_cast<std::size_t>(2 * y[0] + (y[1] > y[2]))] += 1;
  }
  for (const double n : seen) CHECK(std::abs(n - 1000) < 4 * 29);  // 4 standard deviations, sqrt(6000 / 6 * 5 / 6)
  CHECK(random_permutation(0, stream.next()).shape() == Shape{0});
  CHECK(random_permutation(1, stream.next()).to_vector<i64>() == std::vector<i64>{0});
  auto many = random_permutation(100000, stream.next()).to_vector<i64>();
  std::sort(many.begin(), many.end());
  for (i64 i = 0; i < 100000; ++i) REQUIRE(many[static_cast<std::size_t>(i)] == i);
  CHECK_THROWS_WITH_AS(random_permutation(-1, stream.next()), "random_permutation: n must be >= 0; got -1", ShapeError);
}
