#include "nn/inspect/route_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "nn/inspect/routing_map.h"
#include "nn/safetensors.h"

namespace moegrad {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "moegrad.routes";
constexpr const char* kFormatVersion = "1";
constexpr const char* kChoices = "choices";
constexpr const char* kMargins = "margins";

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

}  // namespace

RecordRoutes::RecordRoutes(RunRoutes& routes, bool margins)
    : routes_(routes), scope_(routes.tape, margins ? TapeMode::measure : TapeMode::record) {
  routes_.layers.resize(routes_.tape.choices().size());
}

// A choice that a scope within replays is told, too, but not on the tape.
void RecordRoutes::chose(const char*, const Tensor&, const Tensor&) {
  routes_.layers.resize(routes_.tape.choices().size(), NameScope::current());
}

// ---- files

void save_routes(const std::string& path, const RunRoutes& routes) {
  TensorFile file;
  json list = json::array();
  std::vector<double> margins;
  const std::vector<Choice>& choices = routes.tape.choices();
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const Shape& scores = choices[i].scores;
    list.push_back({{"name", choices[i].name},
                    {"layer", routes.layer(i)},
                    {"scores", std::vector<i64>(scores.begin(), scores.end())}});
    margins.push_back(choices[i].margin);
    file.tensors.push_back({std::to_string(i), choices[i].indices});
  }
  file.tensors.push_back({kMargins, from_vector(margins, {static_cast<i64>(margins.size())}, DType::f64, Device::cpu)});
  try {
    file.metadata = {{kFormat, kFormatVersion}, {kChoices, list.dump()}};
  } catch (const json::exception& e) {
    throw IoError(fmt::format("{}: names must be UTF-8: {}", path, e.what()));
  }
  save_safetensors(path, file);
}

namespace {

// What a file says about its choices, tensors aside.
struct Header {
  std::vector<std::string> names, layers;
  std::vector<Shape> scores;
};

Header header_of(const std::string& text) {
  Header h;
  for (const json& choice : json::parse(text)) {
    h.names.push_back(choice.at("name").get<std::string>());
    h.layers.push_back(choice.at("layer").get<std::string>());
    const auto sizes = choice.at("scores").get<std::vector<i64>>();
    if (sizes.size() > kMaxRank || std::any_of(sizes.begin(), sizes.end(), [](i64 n) { return n < 0; }))
      throw IoError(fmt::format("scores must have a shape; got [{}]", fmt::join(sizes, ", ")));
    h.scores.emplace_back();
    for (const i64 n : sizes) h.scores.back().push_back(n);
  }
  return h;
}

// Takes the tensor of that name out of the file.
Tensor take(TensorFile& file, const std::string& name) {
  const auto found =
      std::find_if(file.tensors.begin(), file.tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
  if (found == file.tensors.end()) throw IoError(fmt::format("there is no tensor '{}'", name));
  Tensor x = found->tensor;
  file.tensors.erase(found);
  return x;
}

RunRoutes routes_of(TensorFile& file, Device device) {
  const auto version = file.metadata.find(kFormat), choices = file.metadata.find(kChoices);
  if (version == file.metadata.end() || version->second != kFormatVersion || choices == file.metadata.end())
    throw IoError(fmt::format("it does not hold routes of version {}", kFormatVersion));
  Header h = header_of(choices->second);
  const Tensor margins = take(file, kMargins);
  const auto count = static_cast<i64>(h.names.size());
  if (margins.shape() != Shape{count} || margins.dtype() != DType::f64)
    throw IoError(fmt::format("margins must be f64 [{}]; got {}", count, describe(margins)));
  const std::vector<double> margin = margins.to_vector<double>();
  std::vector<Choice> list;
  for (std::size_t i = 0; i < h.names.size(); ++i) {
    const Tensor indices = take(file, std::to_string(i));
    if (indices.dtype() != DType::i64 || !(margin[i] >= 0))
      throw IoError(fmt::format("choice {} must have i64 indices and a margin of at least 0; got {} and {}", i,
                                describe(indices), margin[i]));
    list.push_back({h.names[i], indices.to(device), margin[i], h.scores[i]});
  }
  if (!file.tensors.empty())
    throw IoError(fmt::format("every tensor must belong to a choice; got '{}'", file.tensors[0].name));
  return {RouteTape(std::move(list)), std::move(h.layers)};
}

}  // namespace

RunRoutes load_routes(const std::string& path, Device device) {
  TensorFile file = load_safetensors(path);
  try {
    return routes_of(file, device);
  } catch (const IoError& e) {
    throw IoError(fmt::format("{}: {}", path, e.what()));
  } catch (const json::exception& e) {
    throw IoError(fmt::format("{}: the list of choices is not what it should be: {}", path, e.what()));
  }
}

// ---- comparison

namespace {

// Indices as rows [rows, n], each what was chosen at once.
struct Rows {
  i64 n = 1;
  std::vector<i64> values;
  i64 rows() const { return n > 0 ? static_cast<i64>(values.size()) / n : 0; }
  std::vector<i64> row(i64 r) const {
    return {values.begin() + static_cast<std::ptrdiff_t>(r * n),
            values.begin() + static_cast<std::ptrdiff_t>((r + 1) * n)};
  }
};

Rows rows_of(const Choice& c) {
  no_grad guard;
  const int axis = choice_axis(c.scores, c.indices.shape());
  if (axis < 0) return {1, c.indices.to_vector<i64>()};
  const std::vector<i64> values = c.indices.to_vector<i64>();
  i64 inner = 1;
  for (int a = axis + 1; a < c.indices.rank(); ++a) inner *= c.indices.dim(a);
  const i64 n = c.indices.dim(axis), outer = n * inner > 0 ? c.indices.size() / (n * inner) : 0;
  Rows rows{n, {}};
  for (i64 o = 0; o < outer; ++o)
    for (i64 i = 0; i < inner; ++i)
      for (i64 k = 0; k < n; ++k) rows.values.push_back(values[at((o * n + k) * inner + i)]);
  return rows;
}

std::string from_text(const Choice& c) { return fmt::format("{} from {}", c.text(), to_string(c.scores)); }

ChoiceDifference compare(const Choice& a, const Choice& b) {
  const Rows p = rows_of(a);
  ChoiceDifference d{.layer = {}, .name = a.name, .rows = p.rows(), .why = {}};
  if (a.name != b.name || a.scores != b.scores || a.indices.shape() != b.indices.shape()) {
    d.different = d.rows;
    d.first = 0;
    d.why = fmt::format("{} and {}", from_text(a), from_text(b));
    return d;
  }
  const Rows q = rows_of(b);
  for (i64 r = d.rows - 1; r >= 0; --r) {
    if (p.row(r) == q.row(r)) continue;
    ++d.different;
    d.first = r;
  }
  if (d.first >= 0)
    d.why = fmt::format("row {} is {} and {}", d.first, fmt::join(p.row(d.first), " "), fmt::join(q.row(d.first), " "));
  return d;
}

// The choices of a layer together.
struct LayerSum {
  std::string layer, first;
  i64 choices = 0, rows = 0, different = 0;
  bool differs = false;
  double percent() const { return rows > 0 ? 100 * static_cast<double>(different) / static_cast<double>(rows) : 0; }
};

std::vector<LayerSum> by_layer(const std::vector<ChoiceDifference>& choices) {
  std::vector<LayerSum> sums;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const ChoiceDifference& c = choices[i];
    auto sum = std::find_if(sums.begin(), sums.end(), [&](const LayerSum& s) { return s.layer == c.layer; });
    if (sum == sums.end()) sum = sums.insert(sum, {.layer = c.layer, .first = {}});
    ++sum->choices;
    sum->rows += c.rows;
    sum->different += c.different;
    if (!c.why.empty() && !sum->differs) sum->first = fmt::format("choice {} ({}): {}", i, c.name, c.why);
    sum->differs = sum->differs || !c.why.empty();
  }
  return sums;
}

std::string shown(const std::string& layer) { return layer.empty() ? "no layer" : layer; }

}  // namespace

RouteDifference compare_routes(const RunRoutes& first, const RunRoutes& second) {
  const auto &a = first.tape.choices(), &b = second.tape.choices();
  RouteDifference d;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    d.choices.push_back(compare(a[i], b[i]));
    d.choices.back().layer = first.layer(i);
  }
  const auto both = static_cast<i64>(d.choices.size());
  d.only_first = static_cast<i64>(a.size()) - both;
  d.only_second = static_cast<i64>(b.size()) - both;
  return d;
}

i64 RouteDifference::first() const {
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (!choices[i].why.empty()) return static_cast<i64>(i);
  return only_first + only_second > 0 ? static_cast<i64>(choices.size()) : -1;
}

std::string RouteDifference::text() const {
  const i64 place = first();
  if (place < 0) return fmt::format("{} choices, all equal\n", choices.size());
  i64 rows = 0, different = 0;
  for (const ChoiceDifference& c : choices) rows += c.rows, different += c.different;
  std::string text = fmt::format("{} of {} rows in {} choices differ\n", different, rows, choices.size());
  if (only_first + only_second > 0)
    text += fmt::format("the first run has {} choices more, the second {}\n", only_first, only_second);
  for (const LayerSum& s : by_layer(choices))
    if (s.differs)
      text += fmt::format("{}: {} of {} rows ({:.2f} %), first in {}\n", shown(s.layer), s.different, s.rows,
                          s.percent(), s.first);
  return text;
}

Table RouteDifference::table() const {
  Table table;
  table.title = "Routes of two runs";
  table.header = {"layer", "choices", "rows", "different", "share", "first difference"};
  for (const LayerSum& s : by_layer(choices))
    table.rows.push_back({shown(s.layer), std::to_string(s.choices), std::to_string(s.rows),
                          std::to_string(s.different), fmt::format("{:.2f} %", s.percent()), s.first});
  if (only_first + only_second > 0)
    table.note = fmt::format("The first run has {} choices more, the second {}.", only_first, only_second);
  return table;
}

}  // namespace moegrad
