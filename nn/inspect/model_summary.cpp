#include "nn/inspect/model_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/autograd.h"
#include "ops/autodiff/cost.h"

namespace moegrad {
namespace {

// "blocks.0.ff.experts.{}.w1" at depth 3 -> "blocks.0.ff"; the number of a stacked layer ends a path.
std::string cut(const std::string& path, int depth) {
  std::size_t end = 0;
  for (int part = 0; part < depth && end < path.size(); ++part) {
    if (path.compare(end, 3, end == 0 ? "{}." : ".{}") == 0) break;
    end = std::min(path.find('.', end == 0 ? 0 : end + 1), path.size());
  }
  return path.substr(0, end);
}

// The module that holds a parameter of this name.
std::string holder(const std::string& parameter) {
  const std::size_t dot = parameter.rfind('.');
  return dot == std::string::npos ? std::string{} : parameter.substr(0, dot);
}

bool within(const std::string& path, const std::string& scope) {
  return scope.empty() || path == scope || path.starts_with(scope + ".");
}

const Storage* storage_of(const Tensor& x) { return x ? x.body().storage.get() : nullptr; }

// Rows of a summary, and which values were counted already.
class Rows {
 public:
  Rows(Module& model, int depth) : depth_(depth) {
    std::set<const TensorBody*> seen;
    for (const Member& m : model.all_members()) {
      holders_.emplace(storage_of(*m.tensor), holder(m.name));
      if (m.trained && seen.insert(&m.tensor->body()).second) parameters_.push_back(m);
    }
  }

  LayerCost& row(const std::string& path) {
    const std::string layer = cut(path, depth_);
    const auto found = std::find_if(rows_.begin(), rows_.end(), [&](const LayerCost& r) { return r.layer == layer; });
    return found != rows_.end() ? *found : rows_.emplace_back(LayerCost{.layer = layer});
  }

  std::string path_of(std::span<const Tensor> inputs) const {
    const std::string scope = NameScope::current();
    for (const Tensor& x : inputs)
      if (const auto held = holders_.find(storage_of(x)); held != holders_.end() && within(held->second, scope))
        return held->second;
    return scope;
  }

  // Bytes of what this op keeps and nothing before it kept.
  double kept_bytes(const Node& node) {
    double bytes = 0;
    const auto keep = [&](const Tensor& x) {
      const Storage* s = storage_of(x);
      if (s && !holders_.contains(s) && kept_.insert(s).second) bytes += static_cast<double>(s->bytes);
    };
    for (int i = 0; i < node.inputs.size(); ++i) keep(node.inputs[i].value);
    keep(node.y);
    for (const Tensor& x : node.extra) keep(x);
    return bytes;
  }

  std::vector<LayerCost> finish() {
    for (const Member& m : parameters_) {
      LayerCost& r = row(holder(m.name));
      r.parameters += m.tensor->size();
      r.active += m.active();
    }
    return std::move(rows_);
  }

 private:
  int depth_;
  std::map<const Storage*, std::string> holders_;  // of parameters and buffers: the module's path
  std::vector<Member> parameters_;                 // each once
  std::set<const Storage*> kept_;
  std::vector<LayerCost> rows_;
};

// Counts as a ledger does, and says for which layer.
class LayerLedger : public CostLedger {
 public:
  explicit LayerLedger(Rows& rows) : rows_(rows) {}
  void ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) override {
    const Cost before = total();
    CostLedger::ran(node, ys, inputs);
    const Cost after = total();
    LayerCost& row = rows_.row(rows_.path_of(inputs));
    row.calls += after.calls - before.calls;
    row.flops += after.flops - before.flops;
    row.activation_bytes += rows_.kept_bytes(node);
  }

 private:
  Rows& rows_;
};

std::string shown(const LayerCost& row) { return row.layer.empty() ? "model" : row.layer; }

std::vector<std::string> cells(const std::string& name, const LayerCost& row) {
  return {name, with_commas(row.parameters), with_commas(row.active), fmt::format("{:.3f}", row.flops / 1e6),
          fmt::format("{:.3f}", row.activation_bytes / 1e6)};
}

}  // namespace

LayerCost ModelSummary::total() const {
  LayerCost sum;
  for (const LayerCost& row : layers) {
    sum.parameters += row.parameters;
    sum.active += row.active;
    sum.calls += row.calls;
    sum.flops += row.flops;
    sum.activation_bytes += row.activation_bytes;
  }
  return sum;
}

const LayerCost& ModelSummary::of(const std::string& layer) const {
  for (const LayerCost& row : layers)
    if (row.layer == layer) return row;
  throw Error(fmt::format("model summary: there must be such a layer; got '{}'", layer));
}

Table ModelSummary::table() const {
  Table table;
  table.title = "The model, layer by layer";
  table.header = {"layer", "parameters", "active per token", "MFLOP forward", "MB kept for backward"};
  for (const LayerCost& row : layers) table.rows.push_back(cells(shown(row), row));
  table.rows.push_back(cells("all", total()));
  return table;
}

std::string ModelSummary::text() const {
  const Table t = table();
  std::vector<std::size_t> width;
  for (const std::string& name : t.header) width.push_back(name.size());
  for (const auto& row : t.rows)
    for (std::size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    text += fmt::format("{:<{}}", row[0], width[0]);
    for (std::size_t c = 1; c < row.size(); ++c) text += fmt::format("  {:>{}}", row[c], width[c]);
    text += "\n";
  };
  add(t.header);
  for (const auto& row : t.rows) add(row);
  return text;
}

ModelSummary model_summary(Module& model, const std::function<Tensor(Context&)>& run, const SummaryOptions& options) {
  if (options.depth < 0) throw Error(fmt::format("model_summary: depth must be at least 0; got {}", options.depth));
  Rows rows(model, options.depth);
  Tensor y;  // holds the graph, and so all values that it keeps, until the pass is over
  Context context;
  {
    const LayerLedger ledger(rows);
    const Recording on(true);
    y = run(context);
  }
  return {rows.finish()};
}

}  // namespace moegrad
