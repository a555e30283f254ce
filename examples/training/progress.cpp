#include "examples/training/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "examples/training/terminal.h"
#include "nn/module.h"

namespace examples {

std::string clock_text(double seconds) {
  const i64 s = static_cast<i64>(std::max(0.0, seconds) + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string json_line(const std::string& event, const Values& values) {
  nlohmann::ordered_json object{{"event", event}};
  for (const auto& [name, value] : values) std::visit([&, &key = name](const auto& v) { object[key] = v; }, value);
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string words(const Values& values) {
  std::string text;
  for (const auto& [name, value] : values) {
    if (!text.empty()) text += "  ";
    if (const double* number = std::get_if<double>(&value))
      text += fmt::format("{} {:.4f}", name, *number);
    else if (const i64* count = std::get_if<i64>(&value))
      text += fmt::format("{} {}", name, with_commas(*count));
    else if (const std::string* word = std::get_if<std::string>(&value))
      text += fmt::format("{} {}", name, *word);
    else
      text += fmt::format("{} ({} numbers)", name, std::get<std::vector<double>>(value).size());
  }
  return text;
}

// ---- output

Progress::Stream Progress::Stream::standard() {
  return {.file = stdout, .terminal = isatty(STDOUT_FILENO) != 0, .colours = colours_on(STDOUT_FILENO)};
}

Progress::Progress(Output output, Stream stream) : output_(output), stream_(stream) {}

void Progress::object(const char* event, const Values& values) {
  if (output_ != Output::json) return;
  fmt::print(stream_.file, "{}\n", json_line(event, values));
  std::fflush(stream_.file);
}

void Progress::start(const Values& values) { object("start", values); }
void Progress::result(const Values& values) { object("result", values); }

void Progress::step(const StepStatus& s) {
  if (output_ == Output::json) {
    Values values{{"step", s.step}, {"steps", s.steps}};
    values.insert(values.end(), s.numbers.begin(), s.numbers.end());
    values.insert(values.end(), {{s.unit + "_per_second", s.per_second}, {"seconds_left", s.seconds_left}});
    object("step", values);
  } else if (output_ == Output::people && due(s.step, s.steps)) {
    draw(s);
    std::fflush(stream_.file);
  }
}

void Progress::evaluation(i64 step, const Values& values) {
  Values all{{"step", step}};
  all.insert(all.end(), values.begin(), values.end());
  object("evaluation", all);
  line(fmt::format("step {:>6}  {}", step, words(values)));
}

namespace {

// Columns of the terminal; 80 where it does not say.
std::size_t columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

void Progress::draw(const StepStatus& s) {
  const std::string rest = fmt::format("{}  {} {}/s  {} left", words(s.numbers), with_commas(s.per_second), s.unit,
                                       clock_text(s.seconds_left));
  if (!stream_.terminal) {
    fmt::print(stream_.file, "step {:>6} of {}  {}\n", s.step, s.steps, rest);
    return;
  }
  constexpr i64 kWidth = 24;
  const auto full = static_cast<std::size_t>(s.steps > 0 ? s.step * kWidth / s.steps : kWidth);
  const std::string bar =
      painted(std::string(full, '#'), Colour::green, stream_.colours) + std::string(kWidth - full, '.');
  const std::string text = fmt::format("  {}/{}  {}", s.step, s.steps, rest);
  // A line that wraps could not be redrawn.
  fmt::print(stream_.file, "\r\033[K[{}]{}", bar,
             text.substr(0, std::max<std::size_t>(columns(), kWidth + 4) - kWidth - 3));
  drawn_ = true;
}

void Progress::line(const std::string& text) {
  if (output_ != Output::people) return;
  clear();
  fmt::print(stream_.file, "{}\n", text);
  std::fflush(stream_.file);
}

void Progress::warn(const std::string& text) {
  clear();
  fmt::print(stderr, "{} {}\n", painted("warning:", Colour::yellow, colours_on(STDERR_FILENO)), text);
}

void Progress::clear() {
  if (drawn_) fmt::print(stream_.file, "\r\033[K");
  drawn_ = false;
  std::fflush(stream_.file);
}

bool Progress::due(i64 done, i64 total) {
  if (!stream_.terminal) {
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
