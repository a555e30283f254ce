#include "core/philox.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <vector>

using namespace moegrad;

namespace {

bool equal(random::Words a, random::Words b) { return std::equal(a.word, a.word + 4, b.word); }

// The mean of f over the first n elements, and how far it may lie from the truth: six standard errors.
struct Mean {
  double value, slack;
};
template <class F> Mean mean_of(i64 n, F&& f) {
  double sum = 0, square = 0;
  for (i64 i = 0; i < n; ++i) {
    const double x = f(i);
    sum += x;
    square += x * x;
  }
  const double count = static_cast<double>(n), mean = sum / count;
  return {mean, 6 * std::sqrt((square / count - mean * mean) / count)};
}

constexpr i64 kMany = 1 << 18;

}  // namespace

TEST_CASE("philox4x32: the published known answers") {
  // Random123 1.14.0, kat_vectors, "philox4x32 10": counter, key, expected. The third row is the digits of pi.
  CHECK(equal(random::philox4x32({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  const u32 ones = 0xffffffff;
  CHECK(equal(random::philox4x32({{ones, ones, ones, ones}}, ones, ones),
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  CHECK(equal(random::philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
}

TEST_CASE("philox: block, draw, step and seed go to the counter words and keys that the card names") {
  const random::Words expected = random::philox4x32({{0x89abcdef, 0x01234567, 7, 9}}, 0x76543210, 0xfedcba98);
  CHECK(equal(random::philox(0xfedcba9876543210, 7, 9, 0x0123456789abcdef), expected));
  CHECK_FALSE(equal(random::philox(1, 0, 0, 0), random::philox(0, 1, 0, 0)));
  CHECK_FALSE(equal(random::philox(0, 1, 0, 0), random::philox(0, 0, 1, 0)));
}

TEST_CASE("uniform_block: the ends of [0, 1) are exact") {
  const u32 ones = 0xffffffff;
  CHECK(random::uniform_block<float>({{0, 255, 256, ones}}).value[0] == 0.0f);
  CHECK(random::uniform_block<float>({{0, 255, 256, ones}}).value[1] == 0.0f);
  CHECK(random::uniform_block<float>({{0, 255, 256, ones}}).value[2] == 0x1p-24f);
  CHECK(random::uniform_block<float>({{0, 255, 256, ones}}).value[3] == 1.0f - 0x1p-24f);
  CHECK(random::uniform_block<double>({{0, 64, ones, ones}}).value[0] == 0x1p-53);
  CHECK(random::uniform_block<double>({{0, 64, ones, ones}}).value[1] == 1.0 - 0x1p-53);
}

TEST_CASE_TEMPLATE("uniform: moments, neighbours, draws and steps look independent", F, float, double) {
  const auto u = [](i64 i) { return static_cast<double>(random::uniform<F>(42, 3, 5, i)) - 0.5; };
  const auto later = [](i64 i) { return static_cast<double>(random::uniform<F>(42, 3, 6, i)) - 0.5; };
  const auto other = [](i64 i) { return static_cast<double>(random::uniform<F>(42, 4, 5, i)) - 0.5; };
  const auto near = [](Mean m, double truth) { return std::abs(m.value - truth) < m.slack; };
  CHECK(near(mean_of(kMany, u), 0));
  CHECK(near(mean_of(kMany, [&](i64 i) { return u(i) * u(i); }), 1.0 / 12));
  CHECK(near(mean_of(kMany, [&](i64 i) { return u(i) * u(i + 1); }), 0));
  CHECK(near(mean_of(kMany, [&](i64 i) { return u(i) * later(i); }), 0));
  CHECK(near(mean_of(kMany, [&](i64 i) { return u(i) * other(i); }), 0));
  CHECK(near(mean_of(kMany, [&](i64 i) { return u(i) < -0.49 ? 1.0 : 0.0; }), 0.01));
}

TEST_CASE_TEMPLATE("normal: moments, tails and neighbours are those of independent normal numbers", F, float, double) {
  const auto z = [](i64 i) { return static_cast<double>(random::normal<F>(42, 3, 5, i)); };
  const auto near = [](Mean m, double truth) { return std::abs(m.value - truth) < m.slack; };
  CHECK(near(mean_of(kMany, z), 0));
  CHECK(near(mean_of(kMany, [&](i64 i) { return z(i) * z(i); }), 1));
  CHECK(near(mean_of(kMany, [&](i64 i) { return z(i) * z(i) * z(i); }), 0));
  CHECK(near(mean_of(kMany, [&](i64 i) { return std::pow(z(i), 4); }), 3));
  for (i64 distance : {1, 2, 3, 4}) {
    CHECK(near(mean_of(kMany, [&](i64 i) { return z(i) * z(i + distance); }), 0));
    CHECK(near(mean_of(kMany, [&](i64 i) { return z(i) * z(i) * z(i + distance) * z(i + distance); }), 1));
  }
  for (double bound : {-3.0, -1.0, 0.5, 2.0})
    CHECK(near(mean_of(kMany, [&](i64 i) { return z(i) < bound ? 1.0 : 0.0; }),
               0.5 * std::erfc(-bound / std::sqrt(2.0))));
}

TEST_CASE("normal_block: the extreme words give finite numbers within the stated reach") {
  const u32 ones = 0xffffffff;
  const auto least = random::normal_block<float>({{0, 0, 1, 0x80000000}});
  CHECK(least.value[0] == doctest::Approx(6.6604369).epsilon(1e-6));
  CHECK(least.value[1] == 0.0f);
  CHECK(least.value[2] == doctest::Approx(-6.6604369).epsilon(1e-6));
  CHECK(random::normal_block<float>({{ones, 5, ones, 6}}).value[0] == 0.0f);
  CHECK(random::normal_block<double>({{0, 0, 1u << 31, 0}}).value[0] == doctest::Approx(8.6521613).epsilon(1e-7));
  CHECK(random::normal_block<double>({{ones, ones, 5, 5}}).value[1] == 0.0);
}

TEST_CASE("high_product: the upper half of a 128-bit product") {
  const u64 ones = ~u64{0};
  CHECK(random::high_product(ones, ones) == ones - 1);
  CHECK(random::high_product(ones, 1) == 0);
  CHECK(random::high_product(u64{1} << 63, 6) == 3);
  CHECK(random::high_product(0x123456789abcdef0, 0xfedcba9876543210) == 0x121fa00ad77d7422);
}

TEST_CASE("below: every value in [0, n), equally often") {
  for (i64 n : {1, 2, 3, 10, 127}) {
    std::vector<i64> count(static_cast<std::size_t>(n), 0);
    i64 outside = 0;
    for (i64 i = 0; i < kMany; ++i) {
      const i64 value = random::below(n, 7, 1, 2, i);
      if (value < 0 || value >= n)
        ++outside;
      else
        ++count[static_cast<std::size_t>(value)];
    }
    CHECK(outside == 0);
    const double expected = static_cast<double>(kMany) / static_cast<double>(n);
    for (i64 c : count) CHECK(std::abs(static_cast<double>(c) - expected) <= 6 * std::sqrt(expected));
  }
  const i64 huge = INT64_MAX;
  const Mean mean =
      mean_of(kMany, [&](i64 i) { return std::ldexp(static_cast<double>(random::below(huge, 7, 1, 2, i)), -63); });
  CHECK(std::abs(mean.value - 0.5) < mean.slack);
}
