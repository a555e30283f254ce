#include "examples/training/progress.h"

#include <doctest/doctest.h>

#include <functional>
#include <limits>

using namespace examples;

TEST_CASE("clock_text: minutes and seconds, hours where there are some, never below zero") {
  CHECK(clock_text(0) == "0:00");
  CHECK(clock_text(75.2) == "1:15");
  CHECK(clock_text(59.6) == "1:00");
  CHECK(clock_text(3600) == "1:00:00");
  CHECK(clock_text(86399) == "23:59:59");
  CHECK(clock_text(-5) == "0:00");
}

TEST_CASE("stopwatch: time that was spent paused does not count") {
  Stopwatch watch;
  watch.pause();
  const double then = watch.seconds();
  CHECK(watch.seconds() == then);
  watch.go_on();
  CHECK(watch.seconds() >= then);
}

namespace {

// What is written to a stream that is no terminal.
std::string written(Progress::Output output, const std::function<void(Progress&)>& body, bool terminal = false) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  {
    Progress progress(output, {.file = file, .terminal = terminal});
    body(progress);
  }
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  std::fclose(file);
  return text;
}

void short_run(Progress& progress) {
  progress.start({{"parameters", i64{12}}});
  progress.line("a note");
  for (i64 step = 1; step <= 100; ++step)
    progress.step({.step = step, .steps = 100, .seconds_left = 5, .per_second = 1000, .numbers = {{"loss", 2.5}}});
  progress.evaluation(100, {{"validation", 2.25}});
  progress.result({{"loads", std::vector<double>{1, 2}}});
}

i64 count(const std::string& text, const std::string& part) {
  i64 n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("json lines: in order, text escaped, numbers that are none are null") {
  CHECK(json_line("step", {{"b", i64{1}}, {"a", 0.5}, {"text", std::string("x\n\"y\"")}}) ==
        R"({"event":"step","b":1,"a":0.5,"text":"x\n\"y\""})");
  CHECK(json_line("e", {{"a", std::numeric_limits<double>::quiet_NaN()}}) == R"({"event":"e","a":null})");
  CHECK(words({{"loss", 2.0}, {"tokens", i64{12345}}, {"where", std::string("here")}}) ==
        "loss 2.0000  tokens 12,345  where here");
}

TEST_CASE("progress: some twenty lines in a pipe, one object per line for machines, nothing when quiet") {
  const std::string lines = written(Progress::Output::people, short_run);
  CHECK(lines.starts_with("a note\nstep      5 of 100  loss 2.5000  1,000 tokens/s  0:05 left\n"));
  CHECK(count(lines, "\n") == 22);
  CHECK(lines.ends_with("step    100  validation 2.2500\n"));
  CHECK(count(lines, "\033") == 0);

  const std::string json = written(Progress::Output::json, short_run);
  CHECK(count(json, "\n") == 103);
  CHECK(count(json, "{\"event\"") == 103);
  CHECK(count(json, "a note") == 0);
  CHECK(
      json.ends_with("{\"event\":\"evaluation\",\"step\":100,\"validation\":2.25}\n"
                     "{\"event\":\"result\",\"loads\":[1.0,2.0]}\n"));

  CHECK(written(Progress::Output::quiet, short_run).empty());
}

TEST_CASE("progress: on a terminal the bar is redrawn in place and leaves nothing behind") {
  const std::string text = written(Progress::Output::people, short_run, true);
  CHECK(count(text, "\r\033[K[") >= 2);
  CHECK(text.ends_with("\r\033[Kstep    100  validation 2.2500\n"));
}
