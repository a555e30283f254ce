// Trains a character-level transformer language model with a mixture of experts in every block.
//
//   train_lm                                 on moegrad's own sources and documents
//   train_lm --data FILE --steps 5000        on any text
//   train_lm --ffn expert_choice             with other feed-forward layers: --help lists them
//   train_lm --device cuda --graph           on a GPU, each step one captured graph
//   train_lm --resume                        goes on where the checkpoint was written, bit for bit
//
// The loop is examples/training/training_run.h, the layers are listed in examples/training/feed_forwards.cpp. Here is
// what is particular to language: text, loss per character, samples.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "core/atomic_file.h"
#include "examples/training/language_task.h"
#include "examples/training/run_report.h"
#include "examples/training/terminal.h"
#include "examples/training/training_run.h"
#include "nn/moegrad.h"

using namespace moegrad;
using namespace examples;

namespace {

struct Settings {
  RunSettings run{.checkpoint = "train_lm.safetensors"};
  LanguageSettings language;
  std::string data;
  i64 sample = 300;
  double temperature = 0.8;
};

void add_options(CLI::App& app, Settings& s) {
  app.add_option("--data", s.data, "text to train on; \"\": moegrad's own sources and documents")->type_name("FILE");
  add_language_options(app, s.language);
  add_number(app, "--sample", s.sample, "characters to write at the end", 0);
  add_number(app, "--temperature", s.temperature, "of the sample; 0: always the likeliest character", 0);
  add_run_options(app, s.run);
  add_config_options(app);
}

/// What is known when all steps are done.
struct Result {
  double nats = 0, unigram = 0, bigram = 0;
  std::vector<i32> sample;
  LoadStatistics loads;
};

Result result_of(LanguageTask& task, const Settings& s) {
  const TextData& text = task.text();
  const i64 V = text.vocabulary.size();
  Result r{.unigram = unigram_nats(text.training, text.validation, V),
           .bigram = bigram_nats(text.training, text.validation, V),
           .loads = LoadStatistics(s.language.block)};
  r.nats = task.nats(task.validation().batches(), &r.loads);
  Random random(s.run.seed + 1);
  const auto prompt = std::span<const i32>(text.validation).first(1);
  if (s.sample > 0) r.sample = generate(task.model(), prompt, s.sample, s.temperature, random);
  return r;
}

void print_result(const Result& r, LanguageTask& task, const TrainingRun& run) {
  if (!r.sample.empty()) fmt::print("\na sample:\n{}\n", task.text().vocabulary.decode(r.sample));
  if (!r.loads.layers().empty()) fmt::print("\nwork of each expert in percent of its layer\n");
  for (const LayerLoad& layer : r.loads.layers()) {
    fmt::print("  {:<22}", layer.layer);
    for (i64 e = 0; e < layer.experts; ++e) fmt::print(" {:>4.1f}", 100 * layer.share(e));
    fmt::print("\n");
  }
  fmt::print("\n{} parameters, {} active per token\n", with_commas(task.model().parameter_count()),
             with_commas(task.model().active_parameter_count()));
  if (run.steps_done() > 0)
    fmt::print("{} steps in {:.1f} s, {} tokens/s\n", with_commas(run.steps_done()), run.seconds(),
               with_commas(run.per_second()));
  fmt::print("nats per character on the whole validation text, {} characters\n",
             with_commas(task.validation().targets()));
  fmt::print("  unigram baseline  {:.4f}\n", r.unigram);
  fmt::print("  bigram baseline   {:.4f}\n", r.bigram);
  fmt::print("  this model        {:.4f}\n", r.nats);
}

Values values_of(const Result& r, LanguageTask& task, const TrainingRun& run, const std::string& report) {
  return {{"step", run.step()},
          {"validation", r.nats},
          {"unigram", r.unigram},
          {"bigram", r.bigram},
          {"seconds", run.seconds()},
          {"tokens_per_second", run.per_second()},
          {"sample", task.text().vocabulary.decode(r.sample)},
          {"report", report}};
}

/// Characters of a text, and what every layer did with them: as many whole windows of the model as it has.
struct Passage {
  std::vector<std::string> characters;
  RoutingMaps maps;
};
Passage passage(LanguageTask& task, const Settings& s, std::span<const i32> ids, i64 windows) {
  const i64 n = static_cast<i64>(ids.size()), block = std::min(s.language.block, n);
  const i64 rows = std::min(windows, n / std::max<i64>(block, 1));
  Passage p;
  if (rows == 0) return p;
  ids = ids.first(static_cast<std::size_t>(rows * block));
  for (const i32 id : ids) p.characters.push_back(task.text().vocabulary.decode({&id, 1}));
  no_grad guard;
  Random random(s.run.seed);
  Context context{.random = &random, .watch = &p.maps};
  task.model().forward(from_vector(ids, {rows, block}, DType::i32), context);
  return p;
}

Report::Section text_section(const Result& r, LanguageTask& task, const Settings& s) {
  Report::Section section{.heading = "A text through the experts",
                          .text =
                              "Every character has the colour of the expert that weighs most; rest the pointer on "
                              "it to see all gates."};
  const auto add = [&](const char* title, std::span<const i32> ids) {
    const Passage p = passage(task, s, ids, std::max<i64>(1, 512 / s.language.block));
    RoutedText text = routed_text(title, p.characters, p.maps.all());
    if (!text.layers.empty()) section.figures.push_back(std::move(text));
  };
  add("Validation text", task.text().validation);
  add("What the model wrote", r.sample);
  const Passage window = passage(task, s, task.text().validation, 1);
  DepthMap depth = depth_map("Which characters pass which layer", window.characters, window.maps.all());
  if (!depth.layers.empty()) section.figures.push_back(std::move(depth));
  return section;
}

Report report_of(const Result& r, LanguageTask& task, const Settings& s, const TrainingRun& run, const CLI::App& app,
                 const std::string& command) {
  const FeedForwardKind& kind = feed_forward_kind(s.language.feed_forward.ffn);
  Report report{
      .title = "train_lm",
      .subtitle = fmt::format("A character-level language model of {} blocks, {} wide; feed-forward layers: {} ({})",
                              s.language.layers, s.language.width, kind.name, kind.help),
      .command = command};
  report.facts = {{"validation, nats per character", fmt::format("{:.4f}", r.nats)},
                  {"bigram baseline", fmt::format("{:.4f}", r.bigram)},
                  {"steps", with_commas(run.step())},
                  {"parameters", with_commas(task.model().parameter_count())},
                  {"active per token", with_commas(task.model().active_parameter_count())}};
  RunRecord record = run.record();
  for (const auto& [name, value] : task.evaluate()) record.scalars.add(run.step(), name, std::get<double>(value));
  report.sections.push_back(learning_section(
      record, s.run, {.loss_unit = "nats per character", .level = r.bigram, .level_name = "bigram baseline"}));
  if (const std::string warning = leak_warning(s.language.feed_forward); !warning.empty())
    report.sections.front().text = "Caution: " + warning + ".";
  for (const Report::Section& section : {text_section(r, task, s), routing_section(record, r.loads),
                                         gradient_section(record), model_section(task), settings_section(app)})
    if (!section.figures.empty()) report.sections.push_back(section);
  return report;
}

void describe(LanguageTask& task, Progress& progress) {
  const auto size = [](const auto& list) { return static_cast<i64>(list.size()); };
  const TextData& text = task.text();
  progress.line(fmt::format("{} characters to train on, {} to validate, {} different ones",
                            with_commas(size(text.training)), with_commas(size(text.validation)),
                            text.vocabulary.size()));
  progress.line(fmt::format("{} parameters, {} active per token, {}", with_commas(task.model().parameter_count()),
                            with_commas(task.model().active_parameter_count()), device_text()));
  progress.start({{"program", std::string("train_lm")},
                  {"parameters", task.model().parameter_count()},
                  {"active_parameters", task.model().active_parameter_count()},
                  {"characters", size(text.training)},
                  {"device", device_text()}});
}

int train(const Settings& s, const CLI::App& app, const std::string& program) {
  s.run.apply();
  stop_on_signals();
  Progress progress(s.run.output());
  const std::string text = s.data.empty() ? project_text(MOEGRAD_SOURCE_DIR) : read_file(s.data);
  LanguageTask task(s.language, text, s.run.seed);
  TrainingRun run(task, s.run, task.notes(), progress);
  if (const std::string warning = leak_warning(s.language.feed_forward); !warning.empty()) progress.warn(warning);
  describe(task, progress);
  if (!run.run()) {
    progress.result({{"step", run.step()}, {"stopped", std::string("by a signal")}});
    if (!s.run.json) fmt::print("stopped{}\n", s.run.checkpoint.empty() ? "" : "; --resume goes on from here");
    return kStopped;
  }
  const Result result = result_of(task, s);
  const std::string path = s.run.report_path();
  if (!path.empty()) report_of(result, task, s, run, app, command_line(app, program)).write(path);
  if (!s.run.json) print_result(result, task, run);
  progress.result(values_of(result, task, run, path));
  if (!path.empty() && !s.run.json) fmt::print("look inside: {}\n", std::filesystem::absolute(path).string());
  return kDone;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains a character-level language model with mixture-of-experts layers."};
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      fmt::format("Example: train_lm --data book.txt --steps 5000 --ffn top_k --experts 16 --topk 2\n"
                  "Ctrl-C finishes the step and writes the checkpoint; --resume goes on from there.\n{}",
                  kExitCodes));
  add_options(app, settings);
  return run_program(app, argc, argv, [&] { return train(settings, app, argv[0]); });
}
