#include "examples/training/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/inspect/model_summary.h"

namespace examples {
namespace {

const std::vector<std::string> kOwnCurves{"loss", "learning rate", "gradient norm"};

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// The mean over a hundredth of the run before and behind each point, over less at its ends.
Series smoothed(const Series& curve) {
  Series result{.name = "training, smoothed", .x = curve.x, .y = {}};
  const std::size_t n = curve.y.size();
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t reach = std::min({i, n - 1 - i, n / 100 + 1});
    double sum = 0;
    for (std::size_t j = i - reach; j <= i + reach; ++j) sum += curve.y[j];
    result.y.push_back(sum / static_cast<double>(2 * reach + 1));
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
      "Training is measured on the batch of the step; validation on the same part of the validation data at each look, "
      "never trained on: where the two part, the model learns by heart.";
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
  if (contains(losses, "load_balancing")) text += " Where experts share evenly, load_balancing is 1 per layer.";
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
  norm.note = "Of all parameters together, before clipping; what is above the line is scaled down to it.";
  section.figures.push_back(std::move(norm));
  section.figures.push_back(record.scalars.chart("Learning rate", {"learning rate"}));
  return section;
}

// ---- routers

namespace {

// A note for the first of several figures of a kind.
template <class F> void add_noted(Report::Section& section, std::vector<F> figures, const char* note) {
  if (!figures.empty()) figures.front().note = note;
  for (F& figure : figures) section.figures.push_back(std::move(figure));
}

bool all_zero(const LineChart& chart) {
  for (const Series& curve : chart.series)
    for (const double y : curve.y)
      if (y != 0) return false;
  return true;
}

// A curve that is 0 throughout is a sentence.
void add_curve(Report::Section& section, LineChart chart, const char* note, const char* if_zero) {
  if (chart.series.empty()) return;
  if (all_zero(chart)) {
    section.text += fmt::format(" {}", if_zero);
    return;
  }
  chart.note = note;
  section.figures.push_back(std::move(chart));
}

std::vector<HeatMap> loads_over_time(const LoadHistory& loads) {
  std::vector<HeatMap> maps;
  for (const std::string& layer : loads.layers()) {
    HeatMap map = loads.load(layer);
    if (map.rows.size() < 2) continue;
    map.title += " over time";
    map.level_name = "even share";
    map.high = std::min(1.0, 3 * map.level);  // the same for all layers; the first steps would make the rest all dark
    maps.push_back(std::move(map));
  }
  return maps;
}

std::vector<HeatMap> loads_by_position(const LoadStatistics& loads) {
  std::vector<HeatMap> maps;
  for (const LayerLoad& layer : loads.layers())
    if (!layer.load_at.empty()) {
      maps.push_back(position_load(layer));
      maps.back().level_name = "mean";
    }
  return maps;
}

}  // namespace

Report::Section routing_section(const RunRecord& record, const LoadStatistics& loads) {
  Report::Section section{.heading = "What the routers do"};
  if (loads.layers().empty()) return section;
  section.text =
      "Over time: a fixed piece of validation data, looked at again and again. By expert and by position: all "
      "validation data, with the final model.";
  add_noted(section, loads_over_time(record.loads),
            "A row that goes dark is an expert that the router forgets; even rows are a balance that holds. The scale "
            "ends at three even shares.");
  add_curve(section, record.loads.dropped(),
            "Choices that found no slot; where experts choose, tokens that nobody took: they pass the layer unchanged.",
            "No token was dropped at any look.");
  add_curve(section, record.loads.entropy(),
            "How undecided routers are: 0 where they are certain, the logarithm of the number of experts where all are "
            "alike to them.",
            "");
  add_curve(section, record.loads.dead_experts(), "Experts that got no token of the piece, in each layer.",
            "Every expert had tokens at every look.");
  add_noted(section, expert_load_charts(loads), "What each expert does of the layer's work, beside an even share.");
  add_noted(section, loads_by_position(loads),
            "Columns that differ are places in a sequence that have experts of their own; even rows mean that only the "
            "content counts.");
  section.figures.push_back(imbalance_table(loads));
  return section;
}

namespace {

bool all_missing(const LineChart& chart) {
  for (const Series& curve : chart.series)
    for (const double y : curve.y)
      if (!std::isnan(y)) return false;
  return true;
}

}  // namespace

Report::Section gradient_section(const RunRecord& record) {
  Report::Section section{.heading = "What the routers learn from",
                          .text =
                              "The gradient of a router is a sum: of the task's, of every auxiliary loss's with its "
                              "weight, and of what noise adds. Two parts at more than 90 degrees work against "
                              "each other."};
  std::vector<std::string> parameters = record.gradients.parameters();
  if (parameters.size() > 4) parameters = {parameters.front(), parameters.back()};
  std::vector<LineChart> charts;
  for (const std::string& parameter : parameters) {
    charts.push_back(record.gradients.norms(parameter));
    LineChart angles = record.gradients.angles(parameter);  // with one part there are none
    if (!all_missing(angles)) charts.push_back(std::move(angles));
  }
  add_noted(
      section, std::move(charts),
      "Measured on the batch of a step whenever validation is: a router whose balance outweighs its task learns to "
      "spread tokens, not to tell them apart.");
  return section;
}

Report::Section model_section(TrainingTask& task) {
  Random random(1);  // for routers that draw in evaluation, too
  const ModelSummary summary = model_summary(task.model(), [&](Context& context) {
    context.random = &random;
    return task.loss(context);
  });
  Table table = summary.table();
  table.note = fmt::format(
      "Of one forward pass over a training batch of {} {}, its loss included; kept are the values that a backward pass "
      "needs.",
      task.items_per_step(), task.items());
  return {.heading = "The model", .figures = {std::move(table)}};
}

Report::Section settings_section(const CLI::App& app) {
  Table table{.title = "All options", .header = {"option", "value", "set"}};
  for (const bool set : {true, false})
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_lnames().empty() || !option->get_configurable() || (option->count() > 0) != set) continue;
      const bool flag = option->get_expected_min() == 0;
      std::string value = set ? option->results().back() : option->get_default_str();
      if (!set && flag) value = "false";
      if (value.empty()) value = "\"\"";
      table.rows.push_back({"--" + option->get_lnames().front(), value, set ? "yes" : ""});
    }
  return {.heading = "Settings", .figures = {std::move(table)}};
}

}  // namespace examples
