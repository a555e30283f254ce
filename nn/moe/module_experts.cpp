#include "nn/moe/module_experts.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

// Where the slots of expert e begin along the axis of slots, for e = 0 .. E.
std::vector<i64> begins(const Routing& r) {
  if (r.begin) return r.begin.to_vector<i64>();
  std::vector<i64> begin(static_cast<std::size_t>(r.experts) + 1);
  for (std::size_t e = 0; e < begin.size(); ++e) begin[e] = static_cast<i64>(e) * r.slots_per_expert();
  return begin;
}

// Joins what experts gave along the axis of slots; slots behind the last expert's (dropless, masked) give zeros.
Tensor join(std::vector<Tensor> parts, i64 slots) {
  i64 rows = 0;
  for (const Tensor& part : parts) rows += part.dim(1);
  const Tensor& first = parts.front();
  Shape rest = first.shape();
  rest[1] = slots - rows;
  if (rows < slots) parts.push_back(zeros(rest, first.dtype(), first.device()));
  return concat(parts, 1);
}

}  // namespace

// ---- a list of layers

ModuleExperts::ModuleExperts(std::vector<std::unique_ptr<Layer>> list) : layers(std::move(list)) {
  if (layers.empty()) throw Error("ModuleExperts: there must be at least one layer; got none");
  for (std::size_t e = 0; e < layers.size(); ++e)
    if (!layers[e]) throw Error(fmt::format("ModuleExperts: every expert must be a layer; got none for expert {}", e));
}

Tensor ModuleExperts::forward(const Tensor& slots, const Routing& r, Context& context) const {
  check_expert_count("ModuleExperts", static_cast<i64>(layers.size()), r);
  const Unmasked inside(context);
  Tensor used;  // bool [G, P]: slots that hold a token, where some may not
  if (r.token && !r.begin && slots.rank() == 3) used = ge(r.token, scalar_like(0, r.token));
  const std::vector<i64> begin = begins(r);
  std::vector<Tensor> parts;
  for (std::size_t e = 0; e < layers.size(); ++e) {
    const Inside here(context, "", static_cast<i64>(e));
    const Tensor x = slice(slots, 1, {begin[e], begin[e + 1]});  // [G, C, ..]
    if (used) context.mask = slice(used, 1, {begin[e], begin[e + 1]});
    Tensor y = layers[e]->forward(x, context);
    if (y.rank() < 3 || y.dim(0) != x.dim(0) || y.dim(1) != x.dim(1))
      throw ShapeError(fmt::format("ModuleExperts: expert {} must keep the axes [G, C] of its slots {}; got {}", e,
                                   to_string(x.shape()), to_string(y.shape())));
    parts.push_back(std::move(y));
  }
  return join(std::move(parts), slots.dim(1));
}

void ModuleExperts::members(Members& m) {
  for (std::size_t e = 0; e < layers.size(); ++e) m.child(std::to_string(e), *layers[e]);
}

// ---- groups

ExpertGroups::ExpertGroups(std::vector<Group> list) : groups(std::move(list)) {
  if (groups.empty()) throw Error("ExpertGroups: there must be at least one group; got none");
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (!groups[i].members) throw Error(fmt::format("ExpertGroups: every group must have members; got none in {}", i));
    if (groups[i].experts < 1)
      throw Error(
          fmt::format("ExpertGroups: every group must have at least one expert; got {} in {}", groups[i].experts, i));
  }
}

Tensor ExpertGroups::forward(const Tensor& slots, const Routing& r, Context& context) const {
  i64 experts = 0;
  for (const Group& g : groups) experts += g.experts;
  check_expert_count("ExpertGroups", experts, r);
  const std::vector<i64> begin = begins(r);
  std::vector<Tensor> parts;
  i64 first = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Inside here(context, "groups", static_cast<i64>(i));
    const i64 last = first + groups[i].experts, from = begin[static_cast<std::size_t>(first)],
              to = begin[static_cast<std::size_t>(last)];
    Routing own{.dispatch = slice(r.dispatch, 1, {from, to}), .experts = groups[i].experts};
    if (r.token) own.token = slice(r.token, 1, {from, to});
    if (r.begin) own.begin = slice(r.begin, 0, {first, last + 1}) - scalar_like(static_cast<double>(from), r.begin);
    parts.push_back(groups[i].members->forward(slice(slots, 1, {from, to}), own, context));
    first = last;
  }
  return join(std::move(parts), slots.dim(1));
}

void ExpertGroups::members(Members& m) {
  for (std::size_t i = 0; i < groups.size(); ++i) m.child(fmt::format("groups.{}", i), *groups[i].members);
}

// ---- experts without weights, or almost

Tensor Hole::forward(const Tensor& x, Context&) const { return zeros_like(x); }
Tensor Identity::forward(const Tensor& x, Context&) const { return x; }

Constant::Constant(i64 width, Init& init)
    : weight(init.kaiming_uniform({2, width}, width)), value(init.normal({width}, 0.02)) {}

Tensor Constant::forward(const Tensor& x, Context&) const {
  const Tensor a = softmax(linear(x, weight, {}), -1);  // [.., 2]
  return slice(a, -1, {0, 1}) * x + slice(a, -1, {1, 2}) * value;
}

void Constant::members(Members& m) {
  m.parameter("weight", weight);
  m.parameter("value", value);
}

}  // namespace moegrad
