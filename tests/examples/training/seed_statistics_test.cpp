#include "examples/training/seed_statistics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "core/errors.h"

using namespace examples;
using doctest::Approx;
using moegrad::Error;

TEST_CASE("student: the quantiles that tables print") {
  struct Row {
    double p;
    i64 degrees;
    double t;
  };
  // Two-sided; three decimals, as tables have them.
  for (const Row& row :
       {Row{0.05, 1, 12.706}, Row{0.05, 2, 4.303}, Row{0.05, 3, 3.182}, Row{0.05, 4, 2.776}, Row{0.05, 9, 2.262},
        Row{0.05, 30, 2.042}, Row{0.01, 2, 9.925}, Row{0.01, 3, 5.841}, Row{0.1, 5, 2.015}, Row{0.001, 10, 4.587}}) {
    CAPTURE(row.degrees);
    CAPTURE(row.p);
    CHECK(std::abs(student_t(row.p, row.degrees) - row.t) < 6e-4);
  }
}

TEST_CASE("student: closed forms with one, two and three degrees, both tails, the limit") {
  for (const double t : {0.0, 0.3, 1.0, 2.5, 40.0}) {
    CAPTURE(t);
    CHECK(student_p(t, 1) == Approx(1 - 2 / std::numbers::pi * std::atan(t)).epsilon(1e-12));
    CHECK(student_p(t, 2) == Approx(1 - t / std::sqrt(2 + t * t)).epsilon(1e-12));
    const double u = t / std::sqrt(3.0);  // the cumulative function of three degrees
    CHECK(student_p(t, 3) == Approx(1 - 2 / std::numbers::pi * (u / (1 + u * u) + std::atan(u))).epsilon(1e-12));
    CHECK(student_p(-t, 7) == student_p(t, 7));
  }
  CHECK(student_p(std::numeric_limits<double>::infinity(), 4) == Approx(0));
  CHECK(student_p(1.96, 100'000) == Approx(std::erfc(1.96 / std::numbers::sqrt2)).epsilon(1e-3));  // nearly normal
  CHECK(student_p(student_t(0.037, 6), 6) == Approx(0.037).epsilon(1e-9));
  CHECK_THROWS_WITH_AS(student_p(1, 0), "student: degrees of freedom must be at least 1; got 0", Error);
  CHECK_THROWS_WITH_AS(student_t(1, 3), "student: p must be in (0, 1); got 1", Error);
}

TEST_CASE("paired difference: by hand") {
  // Differences 1, 2, 3, 4: mean 2.5, deviation sqrt(5/3), error 0.6455, t 3.873 with 3 degrees.
  const std::vector<double> a{11, 22, 33, 44}, b{10, 20, 30, 40};
  const PairedDifference d = paired_difference(a, b);
  CHECK(d.pairs == 4);
  CHECK(d.mean == Approx(2.5));
  CHECK(d.deviation == Approx(std::sqrt(5.0 / 3)));
  CHECK(d.p == Approx(0.0305).epsilon(2e-3));
  CHECK(d.low == Approx(2.5 - 3.182446 * 0.645497).epsilon(1e-5));
  CHECK(d.high == Approx(2.5 + 3.182446 * 0.645497).epsilon(1e-5));
  const PairedDifference back = paired_difference(b, a);
  CHECK(back.mean == -d.mean);
  CHECK(back.p == d.p);
}

TEST_CASE("paired difference: what both owe to the seed cancels; no spread at all; too few") {
  const std::vector<double> a{1.5, 9.25, 100.75}, b{1, 9, 100};  // the seeds differ far more than the routers
  CHECK(paired_difference(a, b).p == Approx(0.0742).epsilon(2e-3));
  CHECK(paired_difference(a, a).p == 1);
  CHECK(paired_difference(std::vector<double>{3, 4}, std::vector<double>{1, 2}).p == 0);
  CHECK_THROWS_WITH_AS(paired_difference(std::vector<double>{1}, std::vector<double>{2}),
                       "paired difference: needs two lists of one length, at least 2; got 1 and 1 values", Error);
  CHECK_THROWS_WITH_AS(paired_difference(a, std::vector<double>{1, 2}),
                       "paired difference: needs two lists of one length, at least 2; got 3 and 2 values", Error);
  CHECK_THROWS_WITH_AS(paired_difference(a, std::vector<double>{1, 2, std::nan("")}),
                       "paired difference: values must be finite; got one that is not", Error);
}

TEST_CASE("holm: by hand, in the order of the list, never above 1 and never falling") {
  // Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> 0.06.
  const std::vector<double> corrected = holm(std::vector<double>{0.01, 0.04, 0.03, 0.005});
  const std::vector<double> expected{0.03, 0.06, 0.06, 0.02};
  REQUIRE(corrected.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(corrected[i] == Approx(expected[i]));
  CHECK(holm(std::vector<double>{0.7, 0.9}) == std::vector<double>{1, 1});
  CHECK(holm(std::vector<double>{0.02}) == std::vector<double>{0.02});
  CHECK(holm({}).empty());
}
