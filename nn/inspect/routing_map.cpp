#include "nn/inspect/routing_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "nn/inspect/figures.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

// The first slot of every expert, and one past the last, within a group.
std::vector<i64> slot_begins(const Routing& r) {
  if (r.dropless()) return r.begin.to_vector<i64>();
  std::vector<i64> begin;
  for (i64 e = 0; e <= r.experts; ++e) begin.push_back(e * r.slots_per_expert());
  return begin;
}

// Calls f(group, expert, slot) for every slot that belongs to an expert.
template <class F> void for_each_slot(const Routing& r, const F& f) {
  const std::vector<i64> begin = slot_begins(r);
  for (i64 g = 0; g < r.dispatch.dim(0); ++g)
    for (i64 e = 0; e < r.experts; ++e)
      for (i64 p = begin[at(e)]; p < begin[at(e + 1)]; ++p) f(g, e, p);
}

void read_sparse(const Routing& r, RoutingMap& map) {
  const i64 P = r.dispatch.dim(1);
  const auto token = r.token.to_vector<i64>();                      // [G P]
  const auto gate = dense(sum(r.combine, -1)).to_vector<double>();  // [G P]: a slot holds one token, or none
  for_each_slot(r, [&](i64 g, i64 e, i64 p) {
    const i64 n = token[at(g * P + p)];
    if (n < 0) return;
    const std::size_t i = at((g * map.tokens + n) * map.experts + e);
    map.weight[i] += gate[at(g * P + p)];
    ++map.slots[i];
    ++map.load[at(e)];
  });
}

void read_soft(const Routing& r, RoutingMap& map) {
  const i64 P = r.dispatch.dim(1);
  const auto combine = dense(r.combine).to_vector<double>();  // [G P N]
  for_each_slot(r, [&](i64 g, i64 e, i64 p) {
    for (i64 n = 0; n < map.tokens; ++n) {
      const std::size_t i = at((g * map.tokens + n) * map.experts + e);
      map.weight[i] += combine[at((g * P + p) * map.tokens + n)];
      ++map.slots[i];
    }
    ++map.load[at(e)];
  });
}

// Tokens that are in some slot.
i64 held(const RoutingMap& map) {
  i64 n = 0;
  for (i64 g = 0; g < map.groups; ++g)
    for (i64 i = 0; i < map.tokens; ++i) n += map.strongest(g, i) >= 0;
  return n;
}

void read_dropped(const Routing& r, RoutingMap& map) {
  if (!r.dropped) return;
  map.dropped = static_cast<i64>(sum(r.dropped).item());
  // a choice has a slot or is dropped, where tokens choose; where experts do, a token is held or dropped
  map.choices = map.dropped + (r.chosen ? std::reduce(map.load.begin(), map.load.end()) : held(map));
}

// Mean entropy of the rows of p [.., E], each divided by its sum; rows without mass are left out.
double mean_entropy(const std::vector<double>& p, i64 experts) {
  double total = 0;
  i64 rows = 0;
  for (std::size_t row = 0; row + at(experts) <= p.size(); row += at(experts)) {
    double mass = 0, h = 0;
    for (i64 e = 0; e < experts; ++e) mass += p[row + at(e)];
    if (!(mass > 0)) continue;
    for (i64 e = 0; e < experts; ++e)
      if (const double q = p[row + at(e)] / mass; q > 0) h -= q * std::log(q);
    total += h;
    ++rows;
  }
  return rows > 0 ? total / static_cast<double>(rows) : kNoValue;
}

// The same, of tokens that the mask names.
double entropy_of(const Tensor& probabilities, const Tensor& mask) {
  const i64 E = probabilities.dim(-1);
  if (E == 0) return kNoValue;
  Tensor p = reshape(probabilities, {probabilities.size() / E, E});
  if (mask && mask.size() == p.dim(0))
    p = masked_fill(p, logical_not(reshape(mask, {mask.size(), 1})), 0);  // a row without mass
  return mean_entropy(p.to_vector<double>(), E);
}

}  // namespace

std::string shown_layer(const std::string& layer) { return layer.empty() ? "mixture" : layer; }

double RoutingMap::weight_of(i64 group, i64 token, i64 expert) const {
  return weight[at((group * tokens + token) * experts + expert)];
}

i64 RoutingMap::strongest(i64 group, i64 token) const {
  i64 best = -1;
  for (i64 e = 0; e < experts; ++e) {
    if (slots[at((group * tokens + token) * experts + e)] == 0) continue;
    if (best < 0 || weight_of(group, token, e) > weight_of(group, token, best)) best = e;
  }
  return best;
}

void RoutingMaps::routed(const Context& context, const Routing& r) {
  no_grad guard;
  RoutingMap map{.layer = context.path, .groups = r.dispatch.dim(0), .tokens = r.dispatch.dim(2), .experts = r.experts};
  if (!map.layer.empty()) map.layer.pop_back();  // the dot behind the last name
  const std::size_t cells = at(map.groups * map.tokens * map.experts);
  map.weight.resize(cells);
  map.slots.resize(cells);
  map.load.resize(at(map.experts));
  map.soft = !r.token;
  map.soft ? read_soft(r, map) : read_sparse(r, map);
  read_dropped(r, map);
  if (r.probabilities)
    map.entropy = entropy_of(r.probabilities.detach(), context.mask);
  else
    map.entropy = map.soft ? mean_entropy(map.weight, map.experts) : kNoValue;
  maps_.push_back(std::move(map));
}

const RoutingMap& RoutingMaps::of(const std::string& layer) const {
  std::string there;
  for (const RoutingMap& map : maps_) {
    if (map.layer == layer) return map;
    there += fmt::format("{}'{}'", there.empty() ? "" : ", ", map.layer);
  }
  throw Error(fmt::format("routing map: the layer must have made a routing; got '{}', and those that did are {}", layer,
                          there.empty() ? "none" : there));
}

}  // namespace moegrad
