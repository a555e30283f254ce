#include "examples/training/comparison.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/errors.h"

using namespace examples;
using doctest::Approx;
using moegrad::Error;

namespace {

constexpr std::size_t kSeeds = 4;

// The loss falls from 2 to `last`, plus what the seed does to all routers alike and what it does to this one alone.
Contestant synthetic(const std::string& name, double last, const std::vector<double>& own, double seconds = 10) {
  const std::vector<double> shared{0.2, -0.15, 0.05, -0.1};
  Contestant c{.name = name};
  for (std::size_t seed = 0; seed < kSeeds; ++seed) {
    Curve& curve = c.curves.emplace_back();
    for (int look = 0; look <= 4; ++look) {
      const double part = look / 4.0;
      curve.flops.push_back(1e9 * part);
      curve.seconds.push_back(seconds * part);
      curve.loss.push_back(2 + (last + shared[seed] + own[seed] - 2) * part);
      curve.accuracy.push_back(part);
    }
  }
  return c;
}

const std::vector<double> kNoise{0.01, -0.02, 0.005, 0.01}, kOtherNoise{-0.01, 0.015, 0.01, -0.02};

std::string all_of(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& s : sentences) text += s + "\n";
  return text;
}

Reading at_equal_flops(const std::vector<Contestant>& all) {
  return read_all(all, Budget::flops, common_budget(all, Budget::flops));
}

}  // namespace

TEST_CASE("curves: values between looks, at the ends, and outside") {
  const std::vector<double> x{0, 2, 6}, y{10, 6, 4};
  CHECK(read_at(x, y, 0) == 10);
  CHECK(read_at(x, y, 1) == Approx(8));
  CHECK(read_at(x, y, 2) == 6);
  CHECK(read_at(x, y, 5) == Approx(4.5));
  CHECK(read_at(x, y, 6) == 4);
  CHECK_THROWS_WITH_AS(read_at(x, y, 6.1), "curve: cannot be read at 6.1; got 3 and 3 values from 0 to 6", Error);
  CHECK_THROWS_WITH_AS(read_at(x, y, -0.1), "curve: cannot be read at -0.1; got 3 and 3 values from 0 to 6", Error);
  CHECK_THROWS_WITH_AS(read_at({}, {}, 0), "curve: cannot be read at 0; got 0 and 0 values", Error);
}

TEST_CASE("comparison: a common budget is what the shortest training reached, and all are read there") {
  const std::vector<Contestant> all{synthetic("dense", 1, kNoise, 8), synthetic("slow", 1, kOtherNoise, 16)};
  CHECK(common_budget(all, Budget::flops) == Approx(1e9));
  CHECK(common_budget(all, Budget::seconds) == Approx(8));
  const Reading r = read_all(all, Budget::seconds, 8);
  CHECK(r.loss[0][0] == Approx(1 + 0.2 + 0.01));            // at its end
  CHECK(r.loss[1][0] == Approx((2 + 1 + 0.2 - 0.01) / 2));  // half way
  CHECK(r.accuracy[1][3] == Approx(0.5));
  CHECK_THROWS_WITH_AS(read_all(all, Budget::seconds, 9), "curve: cannot be read at 9; got 5 and 5 values from 0 to 8",
                       Error);
  std::vector<Contestant> uneven = all;
  uneven[1].curves.pop_back();
  CHECK_THROWS_WITH_AS(read_all(uneven, Budget::flops, 1),
                       "comparison: every router needs the same seeds; got 4 of dense and 3 of slow", Error);
}

TEST_CASE("comparison: one router is better, and the text says so, by its numbers") {
  const std::vector<Contestant> all{synthetic("dense", 1, kNoise), synthetic("good", 0.5, kOtherNoise),
                                    synthetic("same", 1.001, kOtherNoise), synthetic("bad", 1.4, kOtherNoise)};
  const Reading r = at_equal_flops(all);
  const std::vector<Versus> family = against(r, 0);
  REQUIRE(family.size() == 3);
  CHECK(family[0].exceeds);
  CHECK(family[0].difference.mean == Approx(-0.5 + mean_of(kOtherNoise) - mean_of(kNoise)));
  CHECK_FALSE(family[1].exceeds);
  CHECK(family[2].exceeds);
  CHECK(verdict(family[0]) == "exceeds the seed noise");
  CHECK(verdict(family[1]) == "does not exceed the seed noise");
  const std::string text = all_of(conclusion(r));
  CAPTURE(text);
  CHECK(
      text.find("The loss is lower than that of dense, and the difference exceeds the seed noise, with good by 0.5025 "
                "nats (0.4563 to 0.5487).") != std::string::npos);
  CHECK(text.find(
            "The loss is higher than that of dense, and the difference exceeds the seed noise, with bad by 0.397") !=
        std::string::npos);
  CHECK(text.find("The difference to dense does not exceed the seed noise with same.") != std::string::npos);
  CHECK(
      text.find("The lowest mean loss is that of good, 0.4987 nats; among all pairs it exceeds the seed noise against "
                "every other router.") != std::string::npos);
}

TEST_CASE("comparison: no router is better, and the text claims nothing") {
  const std::vector<Contestant> all{synthetic("dense", 1, kNoise), synthetic("a", 0.99, kOtherNoise),
                                    synthetic("b", 1.01, {0.02, 0.01, -0.03, 0})};
  const Reading r = at_equal_flops(all);
  for (const Versus& v : all_pairs(r)) CHECK_FALSE(v.exceeds);
  const std::string text = all_of(conclusion(r));
  CAPTURE(text);
  CHECK(text.find("No router differs from dense by more than the seed noise.") != std::string::npos);
  CHECK(text.find("among all pairs that does not exceed the seed noise against any other router.") !=
        std::string::npos);
  CHECK(text.find("the difference exceeds the seed noise") == std::string::npos);
}

TEST_CASE("comparison: seeds that differ much do not hide a small steady difference, as they are paired") {
  const std::vector<Contestant> all{synthetic("dense", 1, {0, 0, 0, 0}),
                                    synthetic("better", 0.95, {0.002, -0.001, 0, 0.001})};
  const std::vector<Versus> family = against(at_equal_flops(all), 0);
  CHECK(deviation_of(at_equal_flops(all).loss[0]) > 0.1);
  CHECK(family[0].exceeds);
}

TEST_CASE("comparison: a difference that is seen alone may be lost among many questions") {
  std::vector<Contestant> all{synthetic("dense", 1, {0, 0, 0, 0}),
                              synthetic("maybe", 0.97, {0.01, -0.02, 0.02, -0.01})};
  CHECK(against(at_equal_flops(all), 0)[0].difference.p < kLevel);
  CHECK(against(at_equal_flops(all), 0)[0].exceeds);
  for (int i = 0; i < 9; ++i) all.push_back(synthetic("other" + std::to_string(i), 1, kNoise));
  CHECK_FALSE(against(at_equal_flops(all), 0)[0].exceeds);
  CHECK(all_pairs(at_equal_flops(all)).size() == 55);
  CHECK(method_text(11, 4).find("two-sided, with 3 degrees of freedom") != std::string::npos);
  CHECK(method_text(11, 4).find("for 10 comparisons with the first router, and for 55") != std::string::npos);
}
