#include "examples/training/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace examples {

std::string clock_text(double seconds) {
  const i64 s = static_cast<i64>(std::max(0.0, seconds) + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDOUT_FILENO) != 0) {}

void Progress::show(i64 done, i64 total, double seconds_left, const std::string& status) {
  if (quiet_ || !due(done, total)) return;
  if (!terminal_) {
    fmt::print("step {:>6} of {}  {}  {} left\n", done, total, status, clock_text(seconds_left));
  } else {
    constexpr i64 kWidth = 24;
    const auto full = static_cast<std::size_t>(total > 0 ? done * kWidth / total : kWidth);
    const std::string bar = std::string(full, '#') + std::string(kWidth - full, '.');
    fmt::print("\r\033[K[{}] {}/{}  {}  {} left", bar, done, total, status, clock_text(seconds_left));
    drawn_ = true;
  }
  std::fflush(stdout);
}

void Progress::line(const std::string& text) {
  if (quiet_) return;
  clear();
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

void Progress::clear() {
  if (drawn_) fmt::print("\r\033[K");
  drawn_ = false;
  std::fflush(stdout);
}

bool Progress::due(i64 done, i64 total) {
  if (!terminal_) {
    const i64 line = done / std::max<i64>(1, total / 20);
    return std::exchange(lines_, line) < line || done == total;
  }
  if (drawn_ && done != total && since_drawn_.seconds() < 0.1) return false;
  since_drawn_ = Stopwatch();
  return true;
}

void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_requested = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace examples
