// What this project relies on the compiler for, and what a compiler got wrong before.
#include <doctest/doctest.h>

#include <vector>

#include "core/fwd.h"

using moegrad::i64;

namespace {
[[gnu::noinline]] std::vector<i64> two_ones() { return {1, 1, 0, 0}; }
[[gnu::noinline]] std::vector<double> three_ones() { return {1, 1, 1, 0}; }
[[gnu::noinline]] std::vector<float> four_ones() { return {1, 1, 1, 1, 0, 0, 0, 0}; }
}  // namespace

TEST_CASE("compiler: equal numbers followed by zeros stay what they are") {
  // GCC 12.2 with AVX-512 stores the first of them everywhere, unless core/cmake/build.cmake keeps it from that.
  std::vector<double> sums(3);
  for (const i64 v : two_ones()) sums[0] += static_cast<double>(v);
  for (const double v : three_ones()) sums[1] += v;
  for (const float v : four_ones()) sums[2] += static_cast<double>(v);
  CHECK(sums[0] == 2);
  CHECK(sums[1] == 3);
  CHECK(sums[2] == 4);
}
