// How the benchmarks of a GPU measure and print.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/cuda.h"

namespace benchmarks {

/// A line `name value unit`.
inline void report(const std::string& name, double value, const char* unit) {
  fmt::print("{} {:.6g} {}\n", name, value, unit);
  std::fflush(stdout);
}

inline double seconds(const std::function<void()>& run, int times) {
  moegrad::cuda::synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i) run();
  moegrad::cuda::synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times;
}

/// Of one run: the median of several rounds, each long enough for the clock; small: one short round.
inline double median_seconds(const std::function<void()>& run, bool small) {
  const int rounds = small ? 1 : 9;
  run();  // plans, memory
  const int times = small ? 1 : std::clamp(static_cast<int>(0.06 / seconds(run, 3)), 1, 1000);
  std::vector<double> all;
  for (int i = 0; i < rounds; ++i) all.push_back(seconds(run, times));
  std::nth_element(all.begin(), all.begin() + rounds / 2, all.end());
  return all[static_cast<std::size_t>(rounds / 2)];
}

}  // namespace benchmarks
