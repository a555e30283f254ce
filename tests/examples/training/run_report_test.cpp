#include "examples/training/run_report.h"

#include <doctest/doctest.h>

#include "examples/training/language_task.h"

using namespace examples;

namespace {

std::vector<std::string> titles(const Report::Section& section) {
  std::vector<std::string> found;
  for (const Figure& figure : section.figures)
    found.push_back(std::visit([](const auto& f) { return f.title; }, figure));
  return found;
}

RunRecord recorded(i64 steps) {
  RunRecord record;
  for (i64 i = 1; i <= steps; ++i) {
    for (const char* name : {"loss", "router_z", "gradient norm", "learning rate"}) record.scalars.add(i, name, 1.0);
    if (i % 10 == 0) record.scalars.add(i, "validation", 2.0), record.scalars.add(i, "accuracy", 0.5);
  }
  return record;
}

}  // namespace

TEST_CASE("learning section: every curve that was recorded has its place") {
  const Report::Section s =
      learning_section(recorded(100), {}, {.loss_unit = "nats", .level = 3, .others = {"accuracy"}});
  CHECK(titles(s) ==
        std::vector<std::string>{"Loss", "accuracy", "Auxiliary loss: router_z", "Gradient norm", "Learning rate"});
  const LineChart& loss = std::get<LineChart>(s.figures[0]);
  REQUIRE(loss.series.size() == 3);  // of training, the same smoothed, of validation
  CHECK(loss.series[1].y.back() == doctest::Approx(1));
  CHECK(loss.level == 3);
  CHECK(std::get<LineChart>(learning_section(recorded(20), {}, {}).figures[0]).series.size() == 2);
}

TEST_CASE("routing section: nothing without a mixture") {
  CHECK(routing_section(recorded(3), LoadStatistics()).figures.empty());
}

TEST_CASE("gradient and model sections: of a mixture that was trained a little") {
  LanguageTask task({.feed_forward = {.hidden = 8, .experts = 4}, .layers = 1, .width = 8, .heads = 2, .block = 8},
                    std::string(400, 'a') + std::string(400, 'b'), 1);
  Progress quiet(Progress::Output::quiet);
  TrainingRun run(task, {.steps = 5, .log_every = 1, .eval_every = 2}, {}, quiet);
  REQUIRE(run.run());
  const Report::Section gradients = gradient_section(run.record());
  CHECK(gradients.figures.size() == 2);
  const LineChart& norms = std::get<LineChart>(gradients.figures.at(0));
  REQUIRE_FALSE(norms.series.empty());
  CHECK(norms.series.front().x == std::vector<double>{2, 4});
  for (const Series& part : norms.series) CHECK(part.name != "noise");  // there is none

  const Table layers = std::get<Table>(model_section(task).figures.at(0));
  CHECK(layers.rows.size() >= 5);
  LoadStatistics loads(8);
  task.nats(100, &loads);
  const std::vector<std::string> names = titles(routing_section(run.record(), loads));
  CHECK(names.front() == "Load of blocks.0.feed_forward over time");
  CHECK(names.back() == "Load of experts");
}

TEST_CASE("settings section: what was set stands before what was not") {
  RunSettings settings;
  CLI::App app;
  add_run_options(app, settings);
  app.parse("--lr 0.5 --json");
  const Table table = std::get<Table>(settings_section(app).figures.at(0));
  CHECK(table.rows.at(0) == std::vector<std::string>{"--lr", "0.5", "yes"});
  CHECK(table.rows.at(1) == std::vector<std::string>{"--json", "true", "yes"});
  CHECK(table.rows.at(2) == std::vector<std::string>{"--steps", "600", ""});
}
