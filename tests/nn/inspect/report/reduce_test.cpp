#include "nn/inspect/report/reduce.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace moegrad;
using namespace moegrad::report;

namespace {

Series wave(i64 n) {
  Series s{"wave", {}, {}};
  for (i64 i = 0; i < n; ++i) {
    s.x.push_back(static_cast<double>(i));
    s.y.push_back(std::sin(0.37 * static_cast<double>(i)));
  }
  return s;
}

double smallest(const std::vector<double>& v) {
  double m = kNoValue;
  for (const double x : v) m = std::fmin(m, x);
  return m;
}

}  // namespace

TEST_CASE("report lines: a short series is drawn as it is") {
  const Line line = reduce(wave(100), 50);
  CHECK(line.x == wave(100).x);
  CHECK(line.y == wave(100).y);
  CHECK(line.low.empty());
  CHECK(line.values == 100);
  CHECK(line.mean_of == 1);
}

TEST_CASE("report lines: a long series keeps every extreme in its band") {
  Series s = wave(50000);
  s.y[12345] = 70;
  s.y[40000] = -80;
  const Line line = reduce(s, 400);
  CHECK(line.x.size() == 400);
  CHECK(line.values == 50000);
  CHECK(line.mean_of == 125);
  CHECK(*std::max_element(line.high.begin(), line.high.end()) == 70);
  CHECK(*std::min_element(line.low.begin(), line.low.end()) == -80);
  CHECK(std::is_sorted(line.x.begin(), line.x.end()));
  double total = 0;
  for (const double y : line.y) total += 125 * y;
  double expected = 0;
  for (const double y : s.y) expected += y;
  CHECK(total == doctest::Approx(expected));
}

TEST_CASE("report lines: gaps stay gaps, long or short; infinities are gaps") {
  Series s = wave(10000);
  for (std::size_t i = 2000; i < 4000; ++i) s.y[i] = kNoValue;
  const Line line = reduce(s, 100);
  CHECK(std::count_if(line.y.begin(), line.y.end(), [](double y) { return std::isnan(y); }) == 20);
  CHECK(line.values == 8000);
  const Line brief = reduce({"s", {0, 1, 2}, {1, 1.0 / 0.0, 2}}, 100);
  CHECK(std::isnan(brief.y[1]));
  CHECK(brief.values == 2);
}

TEST_CASE("report lines: a band of the data is merged, too; order does not matter; x at one place is one point") {
  Series s = wave(1000);
  for (const double y : s.y) {
    s.low.push_back(y - 5);
    s.high.push_back(y + 5);
  }
  CHECK(smallest(reduce(s, 10).low) == doctest::Approx(smallest(s.low)));
  Series turned = wave(30);
  std::reverse(turned.x.begin(), turned.x.end());
  CHECK(reduce(turned, 50).x == wave(30).x);
  Series heap{"heap", std::vector<double>(1000, 5), std::vector<double>(1000, 2)};
  CHECK(reduce(heap, 10).y == std::vector<double>{2});
}

TEST_CASE("report lines: a logarithmic axis has no place for zero and less") {
  const Line line = reduce({"s", {0, 1, 2}, {-1, 0, 3}}, 10, true);
  CHECK(line.values == 1);
  CHECK(std::isnan(line.y[0]));
  CHECK(std::isnan(line.y[1]));
}
