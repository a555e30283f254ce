// What a training program shows while it runs: a bar that is redrawn in place, or plain lines where the output is not a
// terminal; and a clean stop on Ctrl-C.
#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>

#include "core/fwd.h"

namespace examples {

using moegrad::i64;

/// Seconds from its start, without those that were spent paused.
class Stopwatch {
 public:
  double seconds() const { return total_ + (running_ ? since() : 0); }
  void pause() { total_ += since(), running_ = false; }
  void go_on() { started_ = Clock::now(), running_ = true; }

 private:
  using Clock = std::chrono::steady_clock;
  double since() const { return std::chrono::duration<double>(Clock::now() - started_).count(); }
  Clock::time_point started_ = Clock::now();
  double total_ = 0;
  bool running_ = true;
};

/// 75.2 -> "1:15"
inline std::string clock_text(double seconds) {
  const i64 s = static_cast<i64>(std::max(0.0, seconds) + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

class Progress {
 public:
  explicit Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDOUT_FILENO) != 0) {}
  ~Progress() { clear(); }

  /// Redraws the bar at most ten times a second; elsewhere prints about twenty lines for the whole run.
  void show(i64 done, i64 total, double seconds_left, const std::string& status) {
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

  /// A line that stays, above the bar.
  void line(const std::string& text) {
    if (quiet_) return;
    clear();
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }

  void clear() {
    if (drawn_) fmt::print("\r\033[K");
    drawn_ = false;
    std::fflush(stdout);
  }

 private:
  bool due(i64 done, i64 total) {
    if (!terminal_) {
      const i64 line = done / std::max<i64>(1, total / 20);
      return std::exchange(lines_, line) < line || done == total;
    }
    if (drawn_ && done != total && since_drawn_.seconds() < 0.1) return false;
    since_drawn_ = Stopwatch();
    return true;
  }
  bool quiet_, terminal_, drawn_ = false;
  i64 lines_ = 0;
  Stopwatch since_drawn_;
};

/// Set by the first Ctrl-C or SIGTERM; a second one ends the program at once.
inline volatile std::sig_atomic_t stop_requested = 0;
inline void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_requested = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}
/// Exit code of a run that was stopped: 128 + SIGINT, as a shell expects.
inline constexpr int kStopped = 130;

}  // namespace examples
