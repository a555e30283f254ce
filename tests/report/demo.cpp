// Writes reports with every kind of figure, as few and as many data as one may hold, for the checks of this folder.
//   report_demo FOLDER
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <random>

#include "nn/inspect/report.h"

using namespace moegrad;

namespace {

// Sums of this engine's numbers, not a distribution of the library, so that every machine draws the same.
double uniform(std::mt19937& engine) { return static_cast<double>(engine() >> 8) / (1 << 24); }
double noise(std::mt19937& engine) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += uniform(engine) - 0.5;
  return sum;
}

LineChart loss(i64 steps, std::mt19937& engine) {
  Series train{"training", {}, {}}, validation{"validation", {}, {}};
  for (i64 i = 1; i <= steps; ++i) {
    const double t = static_cast<double>(i) / static_cast<double>(steps);
    const double y = 1.35 + 3.2 * std::exp(-7 * t) + 0.15 * noise(engine);
    train.x.push_back(static_cast<double>(i));
    train.y.push_back(y);
    if (i % (steps / 10) != 0) continue;
    validation.x.push_back(static_cast<double>(i));
    validation.y.push_back(1.5 + 3.1 * std::exp(-6.6 * t));
  }
  return {.title = "Loss",
          .x_label = "step",
          .y_label = "nats per character",
          .series = {train, validation},
          .note = "Lower is better. Validation is on text that the model has never seen.",
          .level = 3.34,
          .level_name = "unigrams"};
}

LineChart rate(i64 steps) {
  Series s{"learning rate", {}, {}};
  const double warm = static_cast<double>(steps) / 10;
  for (i64 i = 0; i < steps; ++i) {
    const double x = static_cast<double>(i);
    s.x.push_back(x);
    s.y.push_back(x < warm ? 3e-3 * x / warm
                           : 1.5e-3 * (1 + std::cos(3.14159 * (x - warm) / (static_cast<double>(steps) - warm))));
  }
  return {.title = "Learning rate", .x_label = "step", .y_label = "", .series = {s}};
}

LineChart norms(i64 steps, std::mt19937& engine) {
  LineChart chart{.title = "Gradient norm", .x_label = "step", .y_label = "norm before clipping", .log_y = true};
  for (const char* name : {"all", "routers", "experts"}) {
    Series s{name, {}, {}};
    const double size = name[0] == 'a' ? 2 : name[0] == 'r' ? 0.02 : 0.6;
    for (i64 i = 0; i < steps; ++i) {
      s.x.push_back(static_cast<double>(i));
      s.y.push_back(size * std::exp(-static_cast<double>(i) / static_cast<double>(steps) + 0.6 * noise(engine)));
    }
    s.y[static_cast<std::size_t>(steps / 3)] = size * 60;
    chart.series.push_back(s);
  }
  return chart;
}

LineChart seeds(std::mt19937& engine) {
  LineChart chart{.title = "Routers at equal FLOPs", .x_label = "FLOPs", .y_label = "validation loss, mean of 5 seeds"};
  int k = 0;
  for (const char* name : {"dense", "top-2", "expert choice", "soft", "mixture of depths"}) {
    Series s{name, {}, {}, {}, {}};
    for (int i = 1; i <= 20; ++i) {
      const double y = 1.3 + 0.06 * k + 2.5 * std::exp(-0.2 * i) + 0.02 * noise(engine);
      s.x.push_back(i * 1.5e12);
      s.y.push_back(y);
      s.low.push_back(y - 0.05);
      s.high.push_back(y + 0.05);
    }
    chart.series.push_back(s);
    ++k;
  }
  return chart;
}

HeatMap load(i64 experts, i64 columns, i64 steps, std::mt19937& engine) {
  HeatMap map{.title = fmt::format("Load of {} experts, blocks.0", experts),
              .x_label = "step",
              .y_label = "expert",
              .value_label = "share of tokens",
              .level = 1.0 / static_cast<double>(experts),
              .level_name = "even share"};
  for (i64 c = 0; c < columns; ++c)
    map.columns.push_back(static_cast<double>((c + 1) * std::max<i64>(1, steps / columns)));
  for (i64 e = 0; e < experts; ++e) {
    map.rows.push_back(std::to_string(e));
    const double start = std::exp(2 * noise(engine));
    for (i64 c = 0; c < columns; ++c) {
      const double t = std::exp(-5.0 * static_cast<double>(c) / static_cast<double>(columns));
      map.values.push_back((start * t + (1 - t)) * (1 + 0.3 * noise(engine)) / static_cast<double>(experts));
    }
  }
  return map;
}

BarChart per_expert(i64 experts, std::mt19937& engine) {
  BarChart chart{.title = "Load of each expert",
                 .y_label = "share of tokens",
                 .groups = {{"", {}}},
                 .level = 1.0 / static_cast<double>(experts),
                 .level_name = "even share"};
  for (i64 e = 0; e < experts; ++e) {
    chart.labels.push_back(std::to_string(e));
    chart.groups[0].values.push_back((1.1 + 0.5 * noise(engine)) / static_cast<double>(experts));
  }
  return chart;
}

BarChart routers() {
  return {.title = "Validation loss after ten minutes",
          .y_label = "nats, with the 95 % interval of five seeds",
          .labels = {"dense", "top-1 (Switch)", "top-2", "expert choice", "soft", "dynamic soft", "mixture of depths"},
          .groups = {{"equal FLOPs",
                      {1.61, 1.55, 1.52, 1.49, 1.5, 1.51, 1.58},
                      {1.57, 1.5, 1.49, 1.46, 1.46, 1.47, 1.5},
                      {1.65, 1.6, 1.55, 1.52, 1.54, 1.55, 1.66}},
                     {"equal time",
                      {1.61, 1.6, 1.58, 1.54, 1.6, 1.62, 1.55},
                      {1.57, 1.55, 1.55, 1.51, 1.56, 1.58, 1.5},
                      {1.65, 1.65, 1.61, 1.57, 1.64, 1.66, 1.6}}}};
}

LayerRoutes routes(const std::string& layer, i64 experts, std::size_t things, std::mt19937& engine) {
  LayerRoutes l{.layer = layer, .experts = experts};
  i64 expert = 0;
  for (std::size_t i = 0; i < things; ++i) {
    if (uniform(engine) < 0.4) expert = static_cast<i64>(uniform(engine) * static_cast<double>(experts));
    l.expert.push_back(uniform(engine) < 0.03 ? -1 : expert);
    l.weight.push_back(0.3 + 0.7 * uniform(engine));
    l.detail.push_back(fmt::format("gates: {} {:.2f}, {} {:.2f}", expert, l.weight.back(), (expert + 3) % experts,
                                   1 - l.weight.back()));
  }
  return l;
}

RoutedText text(i64 layers, i64 experts, std::mt19937& engine) {
  const std::string sample =
      "template <class T>\nT clamp(const T& x, const T& low, const T& high) {\n\treturn x < low ? low : "
      "high < x ? high : x;  // \"between\" & never beyond\n}\n\nA mixture of experts sends every token to the few "
      "experts that know it best; what they know shows in the text that they take: spaces, names, brackets.\n";
  RoutedText t{.title = "A sample, every character in the colour of its expert",
               .note = "Strong colours: the expert had a large gate. Underlined: a choice was made; grey: dropped."};
  for (const char c : sample) t.characters.push_back({c});
  for (i64 l = 0; l < layers; ++l)
    t.layers.push_back(routes(fmt::format("blocks.{}", l), experts, t.characters.size(), engine));
  return t;
}

RoutedImages images(i64 pictures, i64 layers, i64 experts, std::mt19937& engine) {
  RoutedImages r{.title = "Patches under the colour of their expert", .rows = 7, .columns = 7};
  for (i64 p = 0; p < pictures; ++p) {
    RoutedImages::Picture picture{fmt::format("{} (taken for {})", p % 10, (p * 7) % 10), 28, 28, {}};
    for (i64 y = 0; y < 28; ++y)
      for (i64 x = 0; x < 28; ++x) {
        const double d =
            std::hypot(static_cast<double>(x - 14), static_cast<double>(y - 14)) - 3 - static_cast<double>(p % 8);
        const auto grey = static_cast<unsigned char>(255 * std::exp(-d * d / 4) * (0.8 + 0.2 * uniform(engine)));
        for (int channel = 0; channel < 3; ++channel) picture.rgb.push_back(grey);
      }
    r.pictures.push_back(picture);
  }
  for (i64 l = 0; l < layers; ++l)
    r.layers.push_back(
        routes(fmt::format("blocks.{}.mlp", l), experts, static_cast<std::size_t>(pictures * 49), engine));
  return r;
}

DepthMap depths(i64 tokens, std::mt19937& engine) {
  DepthMap map{.title = "Which tokens pass which layer", .note = "A token without a cell goes around the layer."};
  const std::string sample = "for (i64 e = 0; e < experts; ++e) load[e] += slots[e];\n";
  for (i64 t = 0; t < tokens; ++t) map.tokens.push_back({sample[static_cast<std::size_t>(t) % sample.size()]});
  for (int l = 0; l < 6; ++l) {
    map.layers.push_back(fmt::format("blocks.{}", l));
    for (i64 t = 0; t < tokens; ++t)
      map.gates.push_back(l % 2 == 0 || uniform(engine) < 0.3 ? 0.2 + 0.8 * uniform(engine) : kNoValue);
  }
  return map;
}

Table summary() {
  return {.title = "Model",
          .header = {"layer", "type", "output", "parameters", "FLOPs per token"},
          .rows = {{"embedding", "Embedding", "[8, 64, 128]", "8,192", "0"},
                   {"blocks.0.attention", "Attention", "[8, 64, 128]", "65,536", "147.5k"},
                   {"blocks.0.feed_forward", "MoE, 8 experts of 512", "[8, 64, 128]", "1,050,624", "264.2k"},
                   {"head", "Linear", "[8, 64, 96]", "12,288", "24.6k"}},
          .note = "Of the parameters of a mixture, a token uses those of its experts."};
}

Drawing graph() {
  return {.title = "The graph of the router",
          .svg =
              "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"420\" height=\"120\" viewBox=\"0 0 420 120\">"
              "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" "
              "orient=\"auto\"><path d=\"M0 0L8 4L0 8Z\" fill=\"currentColor\"/></marker></defs>"
              "<g fill=\"none\" stroke=\"currentColor\"><rect x=\"10\" y=\"40\" width=\"110\" height=\"40\" rx=\"6\"/>"
              "<rect x=\"290\" y=\"40\" width=\"110\" height=\"40\" rx=\"6\"/>"
              "<path d=\"M120 60H290\" marker-end=\"url(#tip)\"/></g><g fill=\"currentColor\" font-size=\"13\" "
              "text-anchor=\"middle\"><text x=\"65\" y=\"64\">x [T, D]</text><text x=\"345\" y=\"64\">softmax</text>"
              "</g></svg>"};
}

Report run(i64 steps) {
  std::mt19937 engine(7);
  const i64 columns = std::min<i64>(steps, 200);
  return {.title = fmt::format("train_lm: {} steps", steps),
          .subtitle = "A language model of 4 layers with 8 experts each, on the sources of moegrad.",
          .command = "train_lm --ffn top-k --experts 8 --layers 4 --width 128 --steps " + std::to_string(steps) +
                     " --report run.html",
          .facts = {{"Validation loss", "1.62 nats"},
                    {"Better than unigrams by", "1.72 nats"},
                    {"Steps", std::to_string(steps)},
                    {"Parameters", "1.14M"},
                    {"Active per token", "0.35M"},
                    {"Time", "1 min 42 s"}},
          .sections = {{"Learning",
                        "How the loss fell, and what the optimizer did.",
                        {loss(steps, engine), rate(steps), norms(steps, engine)}},
                       {"Experts over time",
                        "Which share of the tokens each expert took.",
                        {load(8, columns, steps, engine), load(64, columns, steps, engine),
                         load(128, 30, steps, engine), per_expert(8, engine), per_expert(64, engine)}},
                       {"Comparison", "", {routers(), seeds(engine)}},
                       {"What experts read",
                        "Choose a layer; point at a character to see its gates.",
                        {text(12, 8, engine), text(3, 64, engine)}},
                       {"What experts see", "", {images(16, 12, 8, engine)}},
                       {"Depth", "", {depths(55, engine), depths(250, engine)}},
                       {"Model", "", {summary(), graph(), graph()}}}};
}

Report empty() {
  return {
      .title = "Nothing has happened yet",
      .sections = {{"Empty figures",
                    "",
                    {LineChart{.title = "no series"},
                     LineChart{.title = "no values", .series = {{"a", {1}, {kNoValue}}}}, HeatMap{.title = "heat map"},
                     BarChart{.title = "bars"}, RoutedText{.title = "text"}, RoutedImages{.title = "images"},
                     DepthMap{.title = "depth"}, Table{.title = "table"}, Drawing{.title = "drawing"}}}}};
}

LineChart line(const std::string& title, std::vector<double> y, bool log = false) {
  LineChart chart{
      .title = title, .x_label = "step", .y_label = "value", .series = {{"y", {}, std::move(y)}}, .log_y = log};
  for (std::size_t i = 0; i < chart.series[0].y.size(); ++i) chart.series[0].x.push_back(static_cast<double>(i));
  return chart;
}

Report odd() {
  std::mt19937 engine(3);
  const std::string strange = "<script>alert('1')</script> & \"quotes\" \U0001F989 \xff\xfe \x01 \u202E end";
  const double inf = std::numeric_limits<double>::infinity(), none = kNoValue;
  Report r{.title = strange, .subtitle = strange, .command = strange, .facts = {{strange, strange}}};
  r.sections.push_back(
      {"Values",
       "Sizes, gaps and signs that are rare.",
       {line("one point", {3}), line("constant", {2, 2, 2, 2}), line("zero", {0, 0, 0}),
        line("gaps", {1, 2, none, 3, none, 4, 5, none}), line("tiny", {1e-9, 3e-9, 2e-9}),
        line("huge", {1e12, 3e12, 2.5e12}), line("negative", {-3, -1, -2, 4, -5}),
        line("infinite", {1, inf, 2, -inf, 3}), line("far from zero", {1e6 + 0.1, 1e6 + 0.2, 1e6 + 0.15}),
        line("decades", {1e-9, 1, 1e9, 0, -1}, true), line("one decade", {2, 3, 7}, true),
        line("beyond doubles", {1e300, -1e300, 1e-300})}});
  BarChart signs{.title = "bars with signs",
                 .y_label = "change",
                 .labels = {"a", "b", "c"},
                 .groups = {{"x", {-1, 2, none}}, {"y", {1, -3, 0.5}}}};
  BarChart lying{.title = "lying bars with signs",
                 .y_label = "change",
                 .labels = {"a rather long label to read", "another one, even longer than the first", strange, "short"},
                 .groups = {{"x", {-1, 2, none, 1e-9}}},
                 .level = 1,
                 .level_name = "level"};
  HeatMap gaps{.title = "unequal steps",
               .x_label = "step",
               .y_label = "row",
               .value_label = "value",
               .rows = {"a long name of a row that cannot stand there", "b"},
               .columns = {1, 2, 4, 8, 16, 100},
               .values = {1, 2, none, 4, 5, 6, -1, -2, -3, inf, -5, -6}};
  HeatMap one{.title = "one cell",
              .x_label = "step",
              .y_label = "row",
              .value_label = "value",
              .rows = {strange},
              .columns = {5},
              .values = {3}};
  r.sections.push_back({"Bars and maps", strange, {signs, lying, gaps, one, load(3, 5000, 50000, engine)}});
  RoutedText t{.title = strange,
               .characters = {"<", "&", "\"", "\n", "\t", " ", "\xff", "", "\U0001F989", "\x01", "\x7f"},
               .note = strange};
  t.layers = {routes(strange, 128, t.characters.size(), engine), routes("second", 3, t.characters.size(), engine)};
  Table table{.title = "table", .header = {strange, "n"}, .rows = {{strange, "\u22121.5e9"}, {"x", ""}}};
  Series many{"s", {0, 1, 2}, {0, 1, 0}};
  LineChart lines{.title = "128 lines", .x_label = "x", .y_label = "y"};
  for (int i = 0; i < 128; ++i) {
    many.name = fmt::format("expert {}", i);
    for (double& y : many.y) y += uniform(engine);
    lines.series.push_back(many);
  }
  r.sections.push_back({strange, "", {t, table, lines, images(1, 0, 0, engine)}});
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: report_demo FOLDER\n", stderr);
    return 2;
  }
  try {
    const std::string folder = argv[1];
    run(50).write(folder + "/report_50.html");
    run(50000).write(folder + "/report_50000.html");
    empty().write(folder + "/report_empty.html");
    odd().write(folder + "/report_odd.html");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "report_demo: %s\n", e.what());
    return 1;
  }
  return 0;
}
