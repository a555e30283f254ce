#include "examples/training/run_settings.h"

#include <doctest/doctest.h>

#include "core/errors.h"

using namespace examples;

TEST_CASE("run settings: the report lies beside the checkpoint, unless it is named or unwanted") {
  RunSettings s{.checkpoint = "runs/a.safetensors"};
  CHECK(s.report_path() == "runs/a.html");
  s.report = "";
  CHECK(s.report_path().empty());
  s.report = "b.html";
  CHECK(s.report_path() == "b.html");
  CHECK(RunSettings{}.report_path().empty());
}

TEST_CASE("run settings: options, their defaults, and what goes before what") {
  RunSettings s;
  CLI::App app;
  add_run_options(app, s);
  const char* typed[] = {"app", "--steps", "12", "--json", "--report", "", "--balance", "0.5"};
  app.parse(8, typed);
  CHECK(s.steps == 12);
  CHECK(s.report == "");
  CHECK(s.output() == Progress::Output::json);
  CHECK(s.weight_of("router_z") == 0.001);
  CHECK(s.weight_of("load") == 0.5);
  CHECK(s.schedule().total == 12);
  CHECK(RunSettings{.quiet = true}.output() == Progress::Output::quiet);
  CHECK_THROWS_WITH_AS(RunSettings{.graph = true}.apply(), "--graph needs --device cuda", Error);
}
