#include "examples/training/progress.h"

#include <doctest/doctest.h>

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
