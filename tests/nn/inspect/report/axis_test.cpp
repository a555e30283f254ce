#include "nn/inspect/report/axis.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

using namespace moegrad;
using namespace moegrad::report;

using Labels = std::vector<std::string>;

TEST_CASE("report numbers: digits, units, powers of ten, signs") {
  CHECK(number(0) == "0");
  CHECK(number(0.125) == "0.125");
  CHECK(number(1.23456) == "1.235");
  CHECK(number(9999) == "9999");
  CHECK(number(12345) == "12.35k");
  CHECK(number(50000) == "50k");
  CHECK(number(1.5e6) == "1.5M");
  CHECK(number(3e12) == "3T");
  CHECK(number(1e15) == "1e15");
  CHECK(number(1.5e-9) == "1.5e\u22129");
  CHECK(number(-0.5) == "\u22120.5");
  CHECK(number(123456, 7) == "123.456k");
  CHECK(number(std::nan("")) == "");
  CHECK(number(std::numeric_limits<double>::infinity()) == "\u221E");
}

TEST_CASE("report axis: a steps axis keeps its ends, unless they are almost round; its ticks are round") {
  const Axis few = position_axis(10, 49), many = position_axis(1, 49999), brief = position_axis(0, 3, true);
  CHECK(few.low == 10);
  CHECK(few.high == 50);
  CHECK(few.labels == Labels{"10", "20", "30", "40", "50"});
  CHECK(brief.labels == Labels{"0", "1", "2", "3"});
  CHECK(many.labels == Labels{"0", "10k", "20k", "30k", "40k", "50k"});
  CHECK(many.at(25000) == doctest::Approx(0.5));
  const Axis one = position_axis(7, 7);
  CHECK(one.labels == Labels{"7"});
  CHECK(one.at(7) == doctest::Approx(0.5));
}

TEST_CASE("report axis: a values axis ends at ticks, and holds 0 where that is near") {
  const Axis near = value_axis(0.3, 4.7);
  CHECK(near.labels == Labels{"0", "1", "2", "3", "4", "5"});
  const Axis far = value_axis(96.2, 99.1);
  CHECK(far.low <= 96.2);
  CHECK(far.low >= 95);
  CHECK(far.high >= 99.1);
  CHECK(value_axis(0, 0.0031).labels == Labels{"0", "0.001", "0.002", "0.003", "0.004"});
  CHECK(value_axis(-3, 4).labels == Labels{"\u22124", "\u22122", "0", "2", "4"});
  CHECK(value_axis(1e6 + 0.1, 1e6 + 0.2).labels[0] == "1000000.10");
  CHECK(value_axis(1e-9, 3e-9).labels.back() == "3e\u22129");
}

TEST_CASE("report axis: whatever the values, ticks rise, lie within, and have different labels") {
  const double huge = 1e300;
  for (const auto& [low, high] : {std::pair{0.0, 0.0},
                                  {5.0, 5.0},
                                  {-2.0, -2.0},
                                  {1e-9, 1e-9},
                                  {-1e-9, 4e12},
                                  {1e12, 1e12 + 1},
                                  {1e6 + 0.1, 1e6 + 0.2},
                                  {-huge, huge},
                                  {1e-300, 2e-300},
                                  {-7.0, -6.99},
                                  {1e15, 3e15},
                                  {0.00012, 0.00019}}) {
    INFO(low << " " << high);
    const Axis axis = value_axis(low, high);
    const double little = 1e-6 * (axis.high - axis.low);  // far less than a pixel
    CHECK(axis.low <= low + little);
    CHECK(axis.high >= high - little);
    REQUIRE(axis.ticks.size() >= 2);
    CHECK(axis.ticks.size() <= 12);
    CHECK(std::set<std::string>(axis.labels.begin(), axis.labels.end()).size() == axis.labels.size());
    for (const double t : axis.ticks) {
      CHECK(axis.at(t) >= -1e-6);
      CHECK(axis.at(t) <= 1 + 1e-6);
    }
  }
}

TEST_CASE("report axis: logarithmic ones have powers of ten, and 1, 2, 5 where these are few") {
  CHECK(value_axis(0.003, 800, true).labels == Labels{"0.001", "0.01", "0.1", "1", "10", "100", "1000"});
  CHECK(value_axis(2, 7, true).labels == Labels{"2", "5", "10"});
  CHECK(value_axis(3, 3, true).at(3) == doctest::Approx(0.5).epsilon(0.3));
  const Axis wide = value_axis(1e-30, 1e30, true);
  CHECK(wide.ticks.size() <= 12);
  CHECK(wide.at(1) == doctest::Approx(0.5));
}
