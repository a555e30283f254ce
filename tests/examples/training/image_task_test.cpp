#include "examples/training/image_task.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "core/autograd.h"
#include "core/errors.h"
#include "examples/training/image_report.h"
#include "nn/image_glyphs.h"
#include "tests/support/message_of.h"
#include "tests/support/temporary_folder.h"

using namespace examples;
using namespace moegrad::test;

namespace {

const ImageData& few_glyphs() {
  static const ImageData data = glyph_images({.training = 200, .validation = 50, .size = 16});
  return data;
}

ImageSettings tiny(const std::string& ffn) {
  return {.feed_forward = {.ffn = ffn, .hidden = 8, .experts = 4},
          .patch = 4,
          .layers = 2,
          .dense_layers = 1,
          .width = 8,
          .heads = 2,
          .batch = 4};
}

RunSettings steps(i64 until, const std::string& checkpoint = "", bool resume = false) {
  return {.checkpoint = checkpoint,
          .steps = until,
          .warmup = 2,
          .log_every = 1,
          .eval_every = 3,
          .watch_every = 2,
          .checkpoint_every = 3,
          .seed = 3,
          .resume = resume};
}

std::vector<double> weights(ImageModel& model) {
  std::vector<double> all;
  for (const NamedTensor& t : model.state_dict())
    for (const double v : t.tensor.to_vector<double>()) all.push_back(v);
  return all;
}

}  // namespace

TEST_CASE("image task: two steps with every feed-forward layer of the table, and the sections of its report") {
  for (const FeedForwardKind& kind : feed_forward_kinds()) {
    INFO(kind.name);
    ImageTask task(tiny(kind.name), few_glyphs(), 3);
    Progress quiet(Progress::Output::quiet);
    TrainingRun run(task, steps(2), task.notes(), quiet);
    CHECK(run.run());
    const TrainedModel model{kind.name, &task, &run, task.score(50), task.flops_per_token()};
    CHECK(std::isfinite(model.score.loss));
    CHECK(model.flops > 0);
    CHECK(comparison_section({model}, 10).figures.size() == 2);
    CHECK(confusion_section(model).figures.size() == 2);
    const Report::Section experts = expert_section(model);
    CHECK(experts.figures.empty() == (std::string(kind.name) == "dense"));
    Report{.title = kind.name, .sections = {experts}}.html();  // throws where lists do not fit each other
  }
}

TEST_CASE("image task: the dense twin costs as many FLOPs per token as the mixture, to a percent") {
  for (const char* ffn : {"soft", "top_k", "expert_choice"}) {
    INFO(ffn);
    const double flops = ImageTask(tiny(ffn), few_glyphs(), 3).flops_per_token();
    const ImageSettings twin = dense_twin(tiny(ffn), few_glyphs(), flops);
    CHECK(twin.feed_forward.ffn == "dense");
    const double found = ImageTask(twin, few_glyphs(), 3).flops_per_token();
    CHECK(std::abs(found / flops - 1) < 0.01);  // half a hidden unit, of some hundred FLOPs, in ten thousand
  }
}

TEST_CASE("image task: the score counts every validation image once") {
  ImageTask task(tiny("soft"), few_glyphs(), 3);
  const ImageScore score = task.score(50);
  REQUIRE(score.confusion.size() == 100);
  REQUIRE(score.answers.size() == 50);
  i64 all = 0, right = 0;
  for (std::size_t i = 0; i < 100; ++i) all += score.confusion[i], right += i % 11 == 0 ? score.confusion[i] : 0;
  CHECK(all == 50);
  CHECK(score.accuracy == static_cast<double>(right) / 50);
  i64 agreeing = 0;
  for (std::size_t i = 0; i < 50; ++i) agreeing += score.answers[i] == few_glyphs().validation.labels[i] ? 1 : 0;
  CHECK(agreeing == right);
  CHECK(score.loss == doctest::Approx(std::log(10)).epsilon(1e-6));  // the head begins at 0
}

TEST_CASE("image task: a run that was stopped and resumed has the weights and curves of one that never was") {
  const TemporaryFolder folder;
  const auto train = [&](i64 until, const std::string& checkpoint, bool resume) {
    ImageTask task(tiny("top_k"), few_glyphs(), 3);
    Progress quiet(Progress::Output::quiet);
    RunSettings settings = steps(8, checkpoint, resume);
    settings.steps = until;
    settings.warmup = 100;  // the learning rate does not depend on the number of steps
    TrainingRun run(task, settings, task.notes(), quiet);
    CHECK(run.run());
    return std::pair{weights(task.model()), run.record().scalars.text()};
  };
  const auto whole = train(8, folder.file("a"), false);
  train(5, folder.file("b"), false);
  CHECK(train(8, folder.file("b"), true) == whole);
}

TEST_CASE("image task: a checkpoint of other images is refused") {
  const TemporaryFolder folder;
  Progress quiet(Progress::Output::quiet);
  ImageTask task(tiny("dense"), few_glyphs(), 3);
  TrainingRun(task, steps(1, folder.file("a")), task.notes(), quiet).run();
  const ImageData other = glyph_images({.training = 200, .validation = 50, .size = 16, .seed = 2});
  ImageTask stranger(tiny("dense"), other, 3);
  const std::string message =
      message_of<Error>([&] { TrainingRun(stranger, steps(2, folder.file("a"), true), stranger.notes(), quiet); });
  CAPTURE(message);
  CHECK(message.starts_with(folder.file("a") + ": the checkpoint was made with other settings: data = "));
}

TEST_CASE("image task: where images come from") {
  CHECK(load_images("generated", 32).classes.size() == 10);
  const TemporaryFolder folder;
  const std::string absent = folder.file("absent");
  CHECK(message_of<IoError>([&] { load_images(absent, 32); }) ==
        absent + ": cannot list it: No such file or directory");
}
