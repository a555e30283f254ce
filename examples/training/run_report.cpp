#include "examples/training/run_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace examples {
namespace {

const std::vector<std::string> kOwnCurves{"loss", "learning rate", "gradient norm"};

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// A curve and its moving average over a fiftieth of its points.
Series smoothed(const Series& curve) {
  Series result{.name = "training, smoothed", .x = curve.x, .y = curve.y};
  const double keep = 1 - 1 / std::max(1.0, static_cast<double>(curve.x.size()) / 50);
  double average = 0, weight = 0;
  for (double& y : result.y) {
    average = keep * average + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    y = average / weight;
  }
  return result;
}

LineChart loss_chart(const RunRecord& record, const CurveNames& names) {
  LineChart chart{.title = "Loss", .x_label = "step", .y_label = names.loss_unit};
  const Series training = record.scalars.series("loss", "training");
  chart.series.push_back(training);
  if (training.x.size() > 50) chart.series.push_back(smoothed(training));
  if (record.scalars.has("validation")) chart.series.push_back(record.scalars.series("validation"));
  chart.level = names.level, chart.level_name = names.level_name;
  chart.note =
      "Training is measured on the batch of the step, validation on text that is never trained on: where they "
      "part, the model learns by heart.";
  return chart;
}

// Losses that routers added: every curve that is not one of the run's own, or an evaluation.
std::vector<std::string> auxiliary_names(const RunRecord& record, const CurveNames& names) {
  std::vector<std::string> found;
  for (const std::string& name : record.scalars.names())
    if (!contains(kOwnCurves, name) && name != "validation" && !contains(names.others, name)) found.push_back(name);
  return found;
}

std::string weights_note(const std::vector<std::string>& losses, const RunSettings& settings) {
  std::string text = "Summed over layers, before their weights:";
  for (const std::string& name : losses) text += fmt::format(" {} {},", name, settings.weight_of(name));
  text.back() = '.';
  return text;
}

}  // namespace

Report::Section learning_section(const RunRecord& record, const RunSettings& settings, const CurveNames& names) {
  Report::Section section{.heading = "Learning"};
  section.figures.push_back(loss_chart(record, names));
  for (const std::string& other : names.others)
    if (record.scalars.has(other)) section.figures.push_back(record.scalars.chart(other, {other}));
  const std::vector<std::string> auxiliary = auxiliary_names(record, names);
  for (const std::string& name : auxiliary) {
    LineChart chart = record.scalars.chart("Auxiliary loss: " + name, {name});
    if (name == auxiliary.front()) chart.note = weights_note(auxiliary, settings);
    section.figures.push_back(std::move(chart));
  }
  LineChart norm = record.scalars.chart("Gradient norm", {"gradient norm"});
  norm.level = settings.clip, norm.level_name = "clipped above";
  norm.log_y = true;
  norm.note = "Of all parameters together, before clipping: a spike is a batch that would have thrown the model off.";
  section.figures.push_back(std::move(norm));
  section.figures.push_back(record.scalars.chart("Learning rate", {"learning rate"}));
  return section;
}

Report::Section routing_section(const RunRecord& record, const LoadStatistics& loads) {
  Report::Section section{.heading = "What the routers do"};
  if (loads.layers().empty()) return section;
  section.text =
      "Over time: a fixed piece of validation data, looked at again and again. By expert and by position: all "
      "validation data, with the final model.";
  for (Figure& figure : record.loads.figures()) section.figures.push_back(std::move(figure));
  for (BarChart& chart : expert_load_charts(loads)) section.figures.push_back(std::move(chart));
  for (const LayerLoad& layer : loads.layers())
    if (!layer.load_at.empty()) section.figures.push_back(position_load(layer));
  section.figures.push_back(imbalance_table(loads));
  return section;
}

Report::Section settings_section(const CLI::App& app) {
  Table table{.title = "All options", .header = {"option", "value", "set"}};
  for (const bool set : {true, false})
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_lnames().empty() || !option->get_configurable() || (option->count() > 0) != set) continue;
      const bool flag = option->get_expected_min() == 0;
      std::string value = set ? option->results().back() : option->get_default_str();
      if (!set && flag) value = "false";
      table.rows.push_back({"--" + option->get_lnames().front(), value, set ? "yes" : ""});
    }
  return {.heading = "Settings", .figures = {std::move(table)}};
}

}  // namespace examples
