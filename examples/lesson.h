// What the lessons share. A lesson is a text that computes: every claim it prints is checked as it is printed, and
// finish() makes the exit code 1 if one was wrong.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "nn/moegrad.h"

namespace lesson {

using moegrad::i64;
using moegrad::Tensor;

/// Claims so far, and how many of them were wrong.
inline int claims = 0, wrong = 0;

/// "Lesson 3: einsum", underlined.
inline void begin(int number, const std::string& title) {
  const std::string line = fmt::format("Lesson {}: {}", number, title);
  fmt::print("{}\n{}\n", line, std::string(line.size(), '='));
}

/// A paragraph: the words of a text, with {} for values, in lines of up to 96 characters.
template <class... T> void say(fmt::format_string<T...> text, T&&... values) {
  std::istringstream words(fmt::format(text, std::forward<T>(values)...));
  std::string line, word;
  fmt::print("\n");
  while (words >> word) {
    if (!line.empty() && line.size() + 1 + word.size() > 96) fmt::print("{}\n", std::exchange(line, {}));
    line += (line.empty() ? "" : " ") + word;
  }
  fmt::print("{}\n", line);
}

/// A line or several, as they are, each moved to the right.
inline void show(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) fmt::print("    {}\n", line);
}
/// A tensor beside its name.
inline void show(const std::string& name, const Tensor& x) {
  std::string text = name + " = ";
  for (const char c : moegrad::to_string(x))
    text += c == '\n' ? "\n" + std::string(name.size() + 3, ' ') : std::string(1, c);
  show(text);
}

/// Prints a claim, marked as right or WRONG.
inline void check(const std::string& claim, bool holds) {
  ++claims;
  if (!holds) ++wrong;
  fmt::print("  [{}] {}\n", holds ? "right" : "WRONG", claim);
}

/// The largest distance of two elements: NaN where one is NaN, infinity where the shapes differ.
inline double distance(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double most = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double apart = x[i] == y[i] ? 0 : std::abs(x[i] - y[i]);
    if (!(apart <= most)) most = apart;  // NaN, too, and it stays
    if (std::isnan(most)) break;
  }
  return most;
}
/// The claim that two tensors agree up to `within`; prints how far they are apart.
inline void check_equal(const std::string& claim, const Tensor& a, const Tensor& b, double within = 1e-12) {
  const double apart = distance(a, b);
  check(fmt::format("{} (apart: {:.0e})", claim, apart), apart <= within);
}

/// Milliseconds of the fastest of several runs.
template <class Fn> double milliseconds(int runs, const Fn& fn) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const Clock::time_point start = Clock::now();
    fn();
    best = std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return best;
}

/// "####..": a value as a bar, of `width` characters where it is `full`.
inline std::string bar(double value, double full, int width = 40) {
  return std::string(static_cast<std::size_t>(std::lround(std::clamp(value / full, 0.0, 1.0) * width)), '#');
}

/// Last line of a lesson, and the exit code of the program.
inline int finish() {
  if (wrong == 0)
    fmt::print("\nAll {} claims are right.\n", claims);
  else
    fmt::print("\n{} of {} claims are WRONG.\n", wrong, claims);
  return wrong == 0 ? 0 : 1;
}

}  // namespace lesson
