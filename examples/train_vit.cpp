// Trains a small vision transformer with a mixture of experts, and beside it a dense one that costs as much per token.
//
//   train_vit                                on drawn glyphs, with a soft mixture (two minutes on two cores)
//   train_vit --images FOLDER                MNIST, Fashion-MNIST, CIFAR-10, or pictures in a folder for each class
//   train_vit --ffn top_k --compare none     with other feed-forward layers (--help lists them), and without the other
//   train_vit --resume                       goes on where the checkpoints were written, bit for bit
//
// The loop is examples/training/training_run.h, the model examples/training/image_model.h. Here is what is particular to
// a comparison: two models, one after the other, on the same images in the same order.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "examples/training/image_report.h"
#include "examples/training/image_task.h"
#include "examples/training/run_report.h"
#include "examples/training/terminal.h"
#include "nn/moegrad.h"

using namespace moegrad;
using namespace examples;

namespace {

struct Settings {
  RunSettings run{.checkpoint = "train_vit.safetensors",
                  .steps = 4000,
                  .eval_every = 500,
                  .watch_every = 50,
                  .checkpoint_every = 1000,
                  .lr = 4e-3,
                  .weight_decay = 0.05};
  ImageSettings image;
  std::string images = "generated", compare = "dense";
  i64 size = 32, linear_steps = 3000;
};

void add_options(CLI::App& app, Settings& s) {
  app.add_option(
         "--images", s.images,
         "generated: drawn glyphs; or a folder: MNIST or Fashion-MNIST (IDX files), CIFAR-10 (binary files), or "
         "PNG and JPEG files in a sub-folder for each class")
      ->capture_default_str()
      ->type_name("FOLDER");
  app.add_option("--size", s.size, "height and width that PNG and JPEG files get")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  app.add_option("--compare", s.compare, "train this, too: dense layers of as many FLOPs per token")
      ->capture_default_str()
      ->check(CLI::IsMember({"dense", "none"}));
  app.add_option("--linear-steps", s.linear_steps, "of a linear model, to compare with")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  add_image_options(app, s.image);
  add_run_options(app, s.run);
  add_config_options(app);
}

/// A model and its training. What it was made of stays where it is: tasks refer to it.
struct Trainee {
  Trainee(std::string its_name, const ImageSettings& settings, const ImageData& data, const RunSettings& run_settings,
          Progress& progress)
      : name(std::move(its_name)),
        task(settings, data, run_settings.seed),
        run(task, run_settings, task.notes(), progress),
        flops(task.flops_per_token()) {}
  std::string name;
  ImageTask task;
  TrainingRun run;
  double flops;
};

// train_vit.safetensors -> train_vit.dense.safetensors
std::string beside(const std::string& checkpoint) {
  if (checkpoint.empty()) return "";
  const std::size_t dot = checkpoint.find_last_of("./");
  const bool ending = dot != std::string::npos && checkpoint[dot] == '.';
  return checkpoint.substr(0, ending ? dot : checkpoint.size()) + ".dense" +
         (ending ? checkpoint.substr(dot) : std::string());
}

void describe_data(const ImageData& data, Progress& progress) {
  const ImageSet& t = data.training;
  progress.line(fmt::format("{} images of {} x {} x {} to train on, {} to validate, {} classes, {}",
                            with_commas(t.count()), t.channels, t.height, t.width, with_commas(data.validation.count()),
                            data.classes.size(), device_text()));
}

void describe(Trainee& t, Progress& progress) {
  progress.line(fmt::format("{}: {} parameters, {} FLOPs per token of a forward pass", t.name,
                            with_commas(t.task.model().parameter_count()), with_commas(static_cast<i64>(t.flops))));
  progress.start({{"program", std::string("train_vit")},
                  {"model", t.name},
                  {"parameters", t.task.model().parameter_count()},
                  {"flops_per_token", t.flops},
                  {"device", device_text()}});
}

TrainedModel trained_model(Trainee& t, RoutingWatch* watch = nullptr) {
  return {t.name, &t.task, &t.run, t.task.score(t.task.data().validation.count(), watch), t.flops};
}

struct Result {
  std::vector<TrainedModel> models;
  double linear = 0;  // percent
  LoadStatistics loads;
};

Result result_of(Trainee& model, std::optional<Trainee>& dense, const Settings& s) {
  Result r{.loads = LoadStatistics(model.task.model().tokens())};
  r.models.push_back(trained_model(model, &r.loads));
  if (dense) r.models.push_back(trained_model(*dense));
  r.linear = linear_accuracy(model.task.data(), s.linear_steps, s.run.seed);
  return r;
}

void print_result(const Result& r) {
  fmt::print("\n{:<16} {:>10} {:>8} {:>14} {:>12} {:>8} {:>9}\n", "model", "accuracy", "loss", "FLOPs / token",
             "parameters", "seconds", "images/s");
  for (const TrainedModel& c : r.models) {
    fmt::print("{:<16} {:>8.2f} % {:>8.4f} {:>14} {:>12}", c.name, 100 * c.score.accuracy, c.score.loss,
               with_commas(static_cast<i64>(c.flops)), with_commas(c.task->model().parameter_count()));
    if (c.run->steps_done() > 0) fmt::print(" {:>8.1f} {:>9}", c.run->seconds(), with_commas(c.run->per_second()));
    fmt::print("\n");
  }
  fmt::print("{:<16} {:>8.2f} %  softmax regression on pixels\n", "linear", r.linear);
}

Values values_of(const Result& r, const std::string& report) {
  Values values;
  for (const TrainedModel& c : r.models) {
    const std::string who = &c == r.models.data() ? "" : "dense_";
    values.insert(values.end(), {{who + "step", c.run->step()},
                                 {who + "accuracy", 100 * c.score.accuracy},
                                 {who + "validation", c.score.loss},
                                 {who + "flops_per_token", c.flops},
                                 {who + "seconds", c.run->seconds()},
                                 {who + "images_per_second", c.run->per_second()}});
  }
  values.insert(values.end(), {{"linear_accuracy", r.linear}, {"report", report}});
  return values;
}

Report report_of(const Result& r, const Settings& s, const CLI::App& app, const std::string& command) {
  const TrainedModel& model = r.models.front();
  Report report{
      .title = "train_vit",
      .subtitle = fmt::format("A vision transformer on images ({}), feed-forward layers: {}", s.images, model.name),
      .command = command};
  report.facts.push_back({"accuracy", fmt::format("{:.2f} %", 100 * model.score.accuracy)});
  if (r.models.size() > 1)
    report.facts.push_back({"dense, equal FLOPs", fmt::format("{:.2f} %", 100 * r.models[1].score.accuracy)});
  report.facts.insert(report.facts.end(), {{"linear model", fmt::format("{:.2f} %", r.linear)},
                                           {"steps", with_commas(model.run->step())},
                                           {"parameters", with_commas(model.task->model().parameter_count())},
                                           {"FLOPs per token", with_commas(static_cast<i64>(model.flops))}});
  RunRecord record = model.run->record();
  record.scalars.add(model.run->step(), "validation", model.score.loss);
  report.sections.push_back(comparison_section(r.models, r.linear));
  report.sections.push_back(learning_section(record, s.run, {.loss_unit = "nats per image", .others = {"accuracy"}}));
  std::erase_if(report.sections.back().figures, [](const Figure& figure) {  // it is in the comparison
    const LineChart* chart = std::get_if<LineChart>(&figure);
    return chart && chart->title == "accuracy";
  });
  for (const Report::Section& section :
       {expert_section(model), routing_section(record, r.loads), gradient_section(record), confusion_section(model),
        model_section(*model.task), settings_section(app)})
    if (!section.figures.empty()) report.sections.push_back(section);
  return report;
}

int stopped(const Trainee& t, const Settings& s, Progress& progress) {
  progress.result({{"model", t.name}, {"step", t.run.step()}, {"stopped", std::string("by a signal")}});
  if (!s.run.json) fmt::print("stopped{}\n", s.run.checkpoint.empty() ? "" : "; --resume goes on from here");
  return kStopped;
}

int train(const Settings& s, const CLI::App& app, const std::string& program) {
  s.run.apply();
  stop_on_signals();
  Progress progress(s.run.output());
  const ImageData data = load_images(s.images, s.size);
  describe_data(data, progress);
  Trainee model(feed_forward_kind(s.image.feed_forward.ffn).name, s.image, data, s.run, progress);
  describe(model, progress);
  if (!model.run.run()) return stopped(model, s, progress);
  std::optional<Trainee> dense;
  if (s.compare == "dense") {
    RunSettings run = s.run;
    run.checkpoint = beside(s.run.checkpoint);
    dense.emplace("dense baseline", dense_twin(s.image, data, model.flops), data, run, progress);
    describe(*dense, progress);
    if (!dense->run.run()) return stopped(*dense, s, progress);
  }
  const Result result = result_of(model, dense, s);
  const std::string path = s.run.report_path();
  if (!path.empty()) report_of(result, s, app, command_line(app, program)).write(path);
  if (!s.run.json) print_result(result);
  progress.result(values_of(result, path));
  if (!path.empty() && !s.run.json) fmt::print("look inside: {}\n", path);
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains a small vision transformer with mixture-of-experts layers, beside a dense one of equal FLOPs."};
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      fmt::format("Example: train_vit --images fashion-mnist --ffn expert_choice --experts 16 --report look.html\n"
                  "Ctrl-C finishes the step and writes the checkpoint; --resume goes on from there.\n{}",
                  kExitCodes));
  add_options(app, settings);
  return run_program(app, argc, argv, [&] { return train(settings, app, argv[0]); });
}
