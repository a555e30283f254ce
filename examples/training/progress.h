// What a training program shows while it runs: a bar that is redrawn in place, or plain lines where the output is not a
// terminal; and a clean stop on Ctrl-C.
#pragma once
#include <chrono>
#include <csignal>
#include <string>

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
std::string clock_text(double seconds);

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Redraws the bar at most ten times a second; elsewhere prints about twenty lines for the whole run.
  void show(i64 done, i64 total, double seconds_left, const std::string& status);
  /// A line that stays, above the bar.
  void line(const std::string& text);
  void clear();

 private:
  bool due(i64 done, i64 total);
  bool quiet_, terminal_, drawn_ = false;
  i64 lines_ = 0;
  Stopwatch since_drawn_;
};

/// Set by the first Ctrl-C or SIGTERM; a second one ends the program at once.
inline volatile std::sig_atomic_t stop_requested = 0;
void stop_on_signals();
/// Exit code of a run that was stopped: 128 + SIGINT, as a shell expects.
inline constexpr int kStopped = 130;

}  // namespace examples
