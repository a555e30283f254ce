#include "examples/training/training_run.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "core/atomic_file.h"
#include "core/errors.h"
#include "examples/training/language_task.h"

using namespace examples;

namespace {

std::string some_text() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "the cat sat on mat " + std::to_string(i % 7) + ".\n";
  return text;
}

LanguageSettings tiny(const char* ffn) {
  return {.feed_forward = {.ffn = ffn, .hidden = 8, .experts = 4},
          .layers = 1,
          .width = 8,
          .heads = 2,
          .block = 8,
          .batch = 4};
}

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / "moegrad_training_run_test") {
    std::filesystem::remove_all(path);
    std::filesystem::create_directory(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
  std::filesystem::path path;
};

// A run to `until`, of a schedule of 24 steps.
RunRecord train(const std::string& checkpoint, i64 until, bool resume, const char* ffn = "top_k") {
  LanguageTask task(tiny(ffn), some_text(), 3);
  Progress quiet(Progress::Output::quiet);
  const RunSettings settings{.checkpoint = checkpoint,
                             .steps = until,
                             .warmup = 4,
                             .log_every = 1,
                             .eval_every = 6,
                             .watch_every = 4,
                             .checkpoint_every = 5,
                             .seed = 3,
                             .resume = resume};
  TrainingRun run(task, settings, task.notes(), quiet);
  CHECK(run.run());
  CHECK(run.step() == until);
  return run.record();
}

// As a signal in the middle of a step would do it.
void stop_after(const std::string& checkpoint, i64 steps, bool resume) {
  struct Stopping : LanguageTask {
    using LanguageTask::LanguageTask;
    void next_batch() override {
      LanguageTask::next_batch();
      if (--left == 0) stop_requested = 1;
    }
    i64 left = 0;
  } task(tiny("top_k"), some_text(), 3);
  task.left = steps;
  Progress quiet(Progress::Output::quiet);
  const RunSettings settings{.checkpoint = checkpoint,
                             .steps = 24,
                             .warmup = 4,
                             .log_every = 1,
                             .eval_every = 6,
                             .watch_every = 4,
                             .checkpoint_every = 5,
                             .seed = 3,
                             .resume = resume};
  TrainingRun run(task, settings, task.notes(), quiet);
  CHECK_FALSE(run.run());
  stop_requested = 0;
}

}  // namespace

TEST_CASE("training run: it learns, and records every step, evaluation and look") {
  const RunRecord record = train("", 24, false);
  CHECK(record.scalars.points("loss").size() == 24);
  CHECK(record.scalars.last("loss") < record.scalars.points("loss").front().value);
  CHECK(record.scalars.points("validation").size() == 3);  // the last step's belongs to the result
  CHECK(record.scalars.points("gradient norm").size() == 24);
  CHECK(record.scalars.has("load_balancing"));
  CHECK(record.scalars.has("router_z"));
  CHECK(record.loads.layers() == std::vector<std::string>{"blocks.0.feed_forward"});
  CHECK(record.loads.load("blocks.0.feed_forward").columns.size() == 6);
  CHECK(train("", 4, false, "dense").loads.layers().empty());
}

TEST_CASE("training run: stopped and resumed, its checkpoint and its record are those of a calm one") {
  const Folder folder;
  const RunRecord calm = train(folder.file("calm"), 24, false);
  stop_after(folder.file("stopped"), 7, false);
  stop_after(folder.file("stopped"), 6, true);
  const RunRecord resumed = train(folder.file("stopped"), 24, true);
  CHECK(resumed.scalars.text() == calm.scalars.text());
  CHECK(resumed.loads.text() == calm.loads.text());
  CHECK(resumed.gradients.text() == calm.gradients.text());
  CHECK_FALSE(calm.gradients.parameters().empty());
  CHECK(read_file(folder.file("stopped")) == read_file(folder.file("calm")));
}

TEST_CASE("training run: a checkpoint of other settings is an error with a hint") {
  const Folder folder;
  train(folder.file("a"), 2, false);
  CHECK_THROWS_WITH_AS(train(folder.file("a"), 3, true, "mod"), doctest::Contains("steps and learning rate may change"),
                       Error);
}

TEST_CASE("training run: a loss that is not finite stops it") {
  LanguageTask task(tiny("top_k"), some_text(), 3);
  Progress quiet(Progress::Output::quiet);
  TrainingRun run(task, {.steps = 50, .warmup = 0, .log_every = 1, .lr = 1e30, .clip = 1e9}, {}, quiet);
  CHECK_THROWS_WITH_AS(run.run(), doctest::Contains("try a smaller --lr"), Error);
}
