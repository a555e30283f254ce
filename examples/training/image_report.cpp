#include "examples/training/image_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/autograd.h"
#include "nn/inspect/routed_pictures.h"
#include "ops/slice.h"

namespace examples {
namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

LineChart accuracy_chart(const std::vector<TrainedModel>& models, double linear) {
  LineChart chart{.title = "Validation accuracy", .x_label = "step", .y_label = "percent"};
  for (const TrainedModel& c : models) {
    ScalarHistory scalars = c.run->record().scalars;
    scalars.add(c.run->step(), "accuracy", 100 * c.score.accuracy);
    chart.series.push_back(scalars.series("accuracy", c.name));
  }
  chart.level = linear, chart.level_name = "linear model";
  return chart;
}

Table comparison_table(const std::vector<TrainedModel>& models, double linear) {
  Table table{.title = "Side by side",
              .header = {"model", "accuracy %", "loss", "FLOPs per token", "parameters", "seconds", "images/s"}};
  for (const TrainedModel& c : models) {
    const bool ran = c.run->steps_done() > 0;
    table.rows.push_back({c.name, fmt::format("{:.2f}", 100 * c.score.accuracy), fmt::format("{:.4f}", c.score.loss),
                          with_commas(static_cast<i64>(c.flops)), with_commas(c.task->model().parameter_count()),
                          ran ? fmt::format("{:.1f}", c.run->seconds()) : "",
                          ran ? with_commas(c.run->per_second()) : ""});
  }
  table.rows.push_back({"linear", fmt::format("{:.2f}", linear), "", "", "", "", ""});
  table.note =
      "FLOPs are counted as the ops of a forward pass run. Seconds are those of training steps of this process, "
      "without "
      "looks at the validation images. The linear model is softmax regression on pixels.";
  return table;
}

}  // namespace

Report::Section comparison_section(const std::vector<TrainedModel>& models, double linear) {
  Report::Section section{.heading = "The same work, spent in two ways"};
  if (models.size() < 2) section.heading = "The result";
  section.figures = {accuracy_chart(models, linear), comparison_table(models, linear)};
  return section;
}

// ---- mistakes

namespace {

constexpr std::size_t kMostClasses = 30;  // of a table that can still be read

Table confusion_table(const TrainedModel& model) {
  const std::vector<std::string>& classes = model.task->data().classes;
  Table table{.title = "Which class is taken for which", .header = {"image shows"}};
  for (const std::string& name : classes) table.header.push_back(name);
  for (std::size_t c = 0; c < classes.size(); ++c) {
    table.rows.push_back({classes[c]});
    for (std::size_t a = 0; a < classes.size(); ++a) {
      const i64 n = model.score.confusion[c * classes.size() + a];
      table.rows.back().push_back(n == 0 ? "" : with_commas(n));
    }
  }
  table.note = "Rows: what an image shows. Columns: what the model answers. Validation images; an empty cell is none.";
  return table;
}

// The pairs of classes that are confused most.
Table mistakes_table(const TrainedModel& model) {
  const std::vector<std::string>& classes = model.task->data().classes;
  struct Pair {
    i64 count;
    std::size_t shown, answered;
  };
  std::vector<Pair> pairs;
  for (std::size_t c = 0; c < classes.size(); ++c)
    for (std::size_t a = 0; a < classes.size(); ++a)
      if (c != a) pairs.push_back({model.score.confusion[c * classes.size() + a], c, a});
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.count > b.count; });
  Table table{.title = "The most frequent mistakes", .header = {"image shows", "model answers", "images"}};
  for (const Pair& p : std::span(pairs).first(std::min<std::size_t>(pairs.size(), 8)))
    if (p.count > 0) table.rows.push_back({classes[p.shown], classes[p.answered], with_commas(p.count)});
  if (table.rows.empty()) table.rows.push_back({"none", "", "0"});
  return table;
}

}  // namespace

Report::Section confusion_section(const TrainedModel& model) {
  Report::Section section{.heading = "Mistakes"};
  if (model.task->data().classes.size() <= kMostClasses) section.figures.push_back(confusion_table(model));
  section.figures.push_back(mistakes_table(model));
  return section;
}

// ---- experts

Report::Section expert_section(const TrainedModel& model) {
  constexpr i64 kPictures = 12;
  Report::Section section{.heading = "Images through the experts",
                          .text = "Every patch has the colour of the expert that weighs most in it."};
  const ImageModel& net = model.task->model();
  const ImageData& data = model.task->data();
  const ImageBatch batch = model.task->first_images(kPictures);
  no_grad guard;
  Random random(1);  // for routers that draw in evaluation, too
  RoutingMaps maps;
  Context context{.random = &random, .watch = &maps};
  net.forward(batch.images, context);
  PictureOptions pictures;
  for (i64 i = 0; i < batch.labels.size(); ++i)
    pictures.captions.push_back(fmt::format("{}, answer: {}", data.classes[at(data.validation.labels[at(i)])],
                                            data.classes[at(model.score.answers[at(i)])]));
  RoutedImages routed = routed_images("Validation images", batch.images, {.rows = net.rows(), .columns = net.columns()},
                                      maps.all(), pictures);
  if (!routed.layers.empty()) section.figures.push_back(std::move(routed));
  std::vector<std::string> patches;
  for (i64 row = 0; row < net.rows(); ++row)
    for (i64 column = 0; column < net.columns(); ++column) patches.push_back(fmt::format("{},{}", row + 1, column + 1));
  RoutingMaps first;
  context.watch = &first;
  net.forward(slice(batch.images, 0, {0, 1}), context);
  DepthMap depth = depth_map("Which patches of the first image pass which layer (row, column)", patches, first.all());
  if (!depth.layers.empty()) section.figures.push_back(std::move(depth));
  return section;
}

}  // namespace examples
