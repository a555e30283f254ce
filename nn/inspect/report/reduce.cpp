#include "nn/inspect/report/reduce.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moegrad::report {
namespace {

struct Point {
  double x, y, low, high;
};

std::vector<Point> points_of(const Series& s, bool positive) {
  const bool band = !s.low.empty();
  const auto usable = [positive](double v) { return std::isfinite(v) && (!positive || v > 0) ? v : kNoValue; };
  std::vector<Point> points;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!std::isfinite(s.x[i])) continue;
    Point p{s.x[i], usable(s.y[i]), kNoValue, kNoValue};
    if (band && !std::isnan(p.y)) {
      p.low = usable(s.low[i]);
      p.high = usable(s.high[i]);
    }
    points.push_back(p);
  }
  std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  return points;
}

void append(Line& line, const Point& p, bool band) {
  line.x.push_back(p.x);
  line.y.push_back(p.y);
  if (!band) return;
  line.low.push_back(p.low);
  line.high.push_back(p.high);
}

// One point for points [begin, end), which lie in one bucket.
Point merge(const Point* begin, const Point* end) {
  double x = 0, y = 0, n = 0;
  Point sum{kNoValue, kNoValue, kNoValue, kNoValue};
  for (const Point* p = begin; p != end; ++p) {
    if (std::isnan(p->y)) continue;
    x += p->x, y += p->y, ++n;
    sum.low = std::fmin(sum.low, std::fmin(p->low, p->y));  // fmin passes over kNoValue
    sum.high = std::fmax(sum.high, std::fmax(p->high, p->y));
  }
  sum.x = n > 0 ? x / n : begin->x;
  if (n > 0) sum.y = y / n;
  return sum;
}

}  // namespace

Line reduce(const Series& series, i64 buckets, bool positive) {
  const std::vector<Point> points = points_of(series, positive);
  Line line;
  line.values = std::count_if(points.begin(), points.end(), [](const Point& p) { return !std::isnan(p.y); });
  if (line.values <= 2 * buckets) {
    for (const Point& p : points) append(line, p, !series.low.empty());
    return line;
  }
  const double first = points.front().x, width = (points.back().x - first) / static_cast<double>(buckets);
  const auto bucket = [&](const Point& p) {
    return width > 0 ? std::min(buckets - 1, static_cast<i64>((p.x - first) / width)) : 0;
  };
  i64 shown = 0;
  for (std::size_t begin = 0, end; begin < points.size(); begin = end) {
    for (end = begin + 1; end < points.size() && bucket(points[end]) == bucket(points[begin]);) ++end;
    append(line, merge(points.data() + begin, points.data() + end), true);
    shown += !std::isnan(line.y.back());
  }
  line.mean_of = static_cast<double>(line.values) / static_cast<double>(std::max<i64>(1, shown));
  return line;
}

}  // namespace moegrad::report
