#include "ops/autodiff/causality_trace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/autograd.h"
#include "core/choose.h"
#include "core/structure.h"
#include "ops/autodiff/describe_op.h"
#include "ops/slice.h"

namespace moegrad {
namespace {

Tensor before(const Tensor& x_any, const Prefix& prefix) {
  Tensor x = x_any;
  for (int a = 0; a < x.rank(); ++a)
    if (x.shape()[a] == prefix.size) x = slice(x, a, {0, prefix.cut});
  return x;
}

// Which positions before the cut each row took, where a choice was made along the axis: pairs (row, position).
std::set<std::pair<i64, i64>> taken(const Tensor& indices, int axis, i64 cut) {
  std::set<std::pair<i64, i64>> y;
  const std::vector<i64> v = indices.to_vector<i64>();
  i64 inner = 1;
  for (int a = axis + 1; a < indices.rank(); ++a) inner *= indices.shape()[a];
  const i64 n = indices.shape()[axis];
  for (std::size_t i = 0; i < v.size(); ++i) {
    const i64 at = static_cast<i64>(i);
    if (v[i] < cut) y.insert({at / (inner * n) * inner + at % inner, v[i]});
  }
  return y;
}

std::vector<Tensor> values_of(std::span<const Tensor> xs) {
  std::vector<Tensor> y;
  for (const Tensor& x : xs) y.push_back(x && !structure_of(x) ? x.detach() : Tensor{});
  return y;
}

}  // namespace

bool has_axis(const Tensor& x, i64 size) { return std::count(x.shape().begin(), x.shape().end(), size) > 0; }

double change_before(const Tensor& a_any, const Tensor& b_any, const Prefix& prefix) {
  if (a_any.shape() != b_any.shape()) return std::numeric_limits<double>::infinity();
  const std::vector<double> a = before(a_any, prefix).to_vector<double>(),
                            b = before(b_any, prefix).to_vector<double>();
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double d = std::abs(a[i] - b[i]);
    most = std::max(most, std::isnan(d) ? std::numeric_limits<double>::infinity() : d);
    largest = std::max({largest, std::abs(a[i]), std::abs(b[i])});
  }
  return most > prefix.tolerance * (1 + largest) ? most : 0;
}

// ---- taking notes

void Trace::Watch::ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) {
  const std::string layer = NameScope::current();
  if (node.serial > 0) layers_[node.serial] = layer;
  if (rules_ > 0) return;  // a rule shows by what it returns
  for (const Tensor& y : ys) trace_.maker_[&y.body()] = trace_.events_.size();
  trace_.events_.push_back({Event::Kind::op,
                            describe_op(node.name, node.attributes(), inputs),
                            layer,
                            {ys.begin(), ys.end()},  // kept, so that no address is used twice
                            {inputs.begin(), inputs.end()}});
}

void Trace::Watch::chose(const char* name, const Tensor& scores, const Tensor& indices) {
  if (rules_ > 0) return;
  trace_.events_.push_back(
      {Event::Kind::choice, describe_op(name, {}, {&scores, 1}), NameScope::current(), {indices}, {scores}});
}

void Trace::Watch::rule_begins(const Node&, std::span<const Tensor>) { ++rules_; }
void Trace::Watch::rule_ended(const Node& node, std::span<const Tensor> dys, const SmallList<Tensor, 3>* dxs) {
  --rules_;
  if (!dxs) return;
  std::vector<Tensor> made;
  for (int i = 0; i < dxs->size(); ++i)
    if (node.inputs[i].node) made.push_back((*dxs)[i]);
  const auto layer = layers_.find(node.serial);
  trace_.events_.push_back({Event::Kind::gradient, "the gradient of " + describe_op(node),
                            layer == layers_.end() ? "" : layer->second, values_of(made), values_of(dys)});
}

// ---- comparing

Trace::Found Trace::named(std::size_t i) const { return {events_[i].text, events_[i].layer}; }

// Did what the event made move before the cut, or (without the axis) at all?
bool Trace::moved(const Trace& other, std::size_t i, const Prefix& prefix) const {
  const std::vector<Tensor>&a = events_[i].made, &b = other.events_[i].made;
  for (std::size_t k = 0; k < a.size() && k < b.size(); ++k)
    if (a[k] && b[k] && !structure_of(a[k]) && change_before(a[k], b[k], prefix) > 0) return true;
  return false;
}

// Where the change that event i shows came in: the op that summed the axis away, if one did on the way to i.
std::size_t Trace::origin(const Trace& other, std::size_t i, const Prefix& prefix) const {
  for (std::size_t at = i;;) {
    std::size_t next = at;
    for (const Tensor& x : events_[at].read) {
      if (!x || structure_of(x) || has_axis(x, prefix.size)) continue;
      const auto maker = maker_.find(&x.body());
      if (maker != maker_.end() && maker->second < at && moved(other, maker->second, prefix)) next = maker->second;
    }
    if (next == at) return at;
    at = next;
  }
}

Trace::Found Trace::first_change(const Trace& other, const Prefix& prefix) const {
  for (std::size_t i = 0; i < std::min(events_.size(), other.events_.size()); ++i) {
    const Event &a = events_[i], &b = other.events_[i];
    if (a.kind != b.kind || a.text != b.text) return named(i);  // the runs part here
    if (a.kind == Event::Kind::gradient) continue;
    const bool along = !a.made.empty() && a.made[0] && has_axis(a.made[0], prefix.size);
    if (along && moved(other, i, prefix)) return named(origin(other, i, prefix));
    if (a.kind != Event::Kind::choice) continue;
    const int axis = choice_axis(a.read[0].shape(), a.made[0].shape());
    if (axis >= 0 && a.read[0].shape()[axis] == prefix.size &&
        taken(a.made[0], axis, prefix.cut) != taken(b.made[0], axis, prefix.cut))
      return named(i);
  }
  return {};
}

Trace::Found Trace::first_gradient_after(const Prefix& prefix) const {
  const auto reaches_after = [&](const Tensor& x) {
    if (!x || !has_axis(x, prefix.size)) return false;
    const auto weight = [](const Tensor& t) {
      double sum = 0;
      for (const double v : t.to_vector<double>()) sum += std::abs(v);
      return sum;
    };
    const double all = weight(x);
    return all - weight(before(x, prefix)) > prefix.tolerance * (1 + all);
  };
  for (std::size_t i = 0; i < events_.size(); ++i)
    if (events_[i].kind == Event::Kind::gradient &&
        std::any_of(events_[i].made.begin(), events_[i].made.end(), reaches_after))
      return named(i);
  return {};
}

Trace::Found Trace::first_gradient_change(const Trace& other, const Prefix& prefix) const {
  for (std::size_t i = 0; i < std::min(events_.size(), other.events_.size()); ++i) {
    if (events_[i].kind != Event::Kind::gradient) continue;
    if (events_[i].text != other.events_[i].text) return named(i);
    for (const Tensor& dx : events_[i].made)
      if (dx && has_axis(dx, prefix.size) && moved(other, i, prefix)) return named(i);
  }
  return {};
}

}  // namespace moegrad
