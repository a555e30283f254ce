// What a training program shows while it runs: a bar that is redrawn in place, plain lines where the output is not a
// terminal, or JSON for machines; and a clean stop on Ctrl-C.
#pragma once
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <variant>
#include <vector>

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

/// Numbers and texts by name, in their order: what JSON calls an object.
using Value = std::variant<i64, double, std::string, std::vector<double>>;
using Values = std::vector<std::pair<std::string, Value>>;
/// {"event":"step","step":10,..}: one line without its end. Numbers that are not finite become null.
std::string json_line(const std::string& event, const Values& values);
/// "loss 2.3012  validation 2.4410", for people.
std::string words(const Values& values);

/// How far a run is.
struct StepStatus {
  i64 step = 0, steps = 0;
  double seconds_left = 0;
  i64 per_second = 0;
  std::string unit = "tokens";  ///< what is counted per second
  Values numbers;               ///< its loss, ..
};

/// For people a bar or lines; quiet: nothing but warnings; json: one object per line, and nothing else on this stream:
///   start  step  evaluation  result     by their key "event"
class Progress {
 public:
  enum class Output { people, quiet, json };
  struct Stream {
    std::FILE* file = stdout;
    bool terminal = false, colours = false;
    /// stdout, as it is here.
    static Stream standard();
  };
  explicit Progress(Output output, Stream stream = Stream::standard());
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  Output output() const { return output_; }
  void start(const Values& values);
  /// Redraws the bar at most ten times a second; elsewhere prints about twenty lines for the whole run. JSON: every one.
  void step(const StepStatus& status);
  void evaluation(i64 step, const Values& values);
  /// JSON only: for people a program says it in its own words.
  void result(const Values& values);
  /// A line that stays, above the bar; for people only.
  void line(const std::string& text);
  /// "warning: ..", on stderr, always.
  void warn(const std::string& text);
  void clear();

 private:
  bool due(i64 done, i64 total);
  void draw(const StepStatus& status);
  void object(const char* event, const Values& values);
  Output output_;
  Stream stream_;
  bool drawn_ = false;
  i64 lines_ = 0;
  Stopwatch since_drawn_;
};

/// Set by the first Ctrl-C or SIGTERM; a second one ends the program at once.
inline volatile std::sig_atomic_t stop_requested = 0;
void stop_on_signals();

}  // namespace examples
