#include "nn/moe/module_experts.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/moe/moe.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Routing even() { return {.dispatch = zeros({2, 6, 5}, DType::f64), .experts = 3}; }
Routing uneven() {
  return {.dispatch = zeros({1, 8, 5}, DType::f64), .begin = tensor({0, 4, 4, 7}, DType::i64), .experts = 3};
}
Tensor slots_of(const Routing& r) { return random_tensor({r.dispatch.dim(0), r.dispatch.dim(1), 4}, 3); }
i64 expert_of(const Routing& r, i64 slot) { return r.begin ? (slot < 4 ? 0 : slot < 7 ? 2 : -1) : slot / 2; }

std::vector<std::unique_ptr<Layer>> mixed(Init& init) {
  std::vector<std::unique_ptr<Layer>> list;
  list.push_back(std::make_unique<Hole>());
  list.push_back(std::make_unique<Constant>(4, init));
  list.push_back(std::make_unique<Identity>());
  return list;
}

struct TwoRows : Layer {
  Tensor forward(const Tensor& x, Context&) const override { return slice(x, 1, {0, 1}); }
  void members(Members&) override {}
};
// Says whether it sees a mask, and under which path.
struct Witness : Layer {
  Tensor forward(const Tensor& x, Context& context) const override {
    context.record(context.mask ? "masked" : "unmasked", scalar(1));
    return x;
  }
  void members(Members&) override {}
};

}  // namespace

TEST_CASE("experts: hole, constant and identity in one list, by their definitions") {
  Random random(1);
  Init init(random, DType::f64);
  ModuleExperts experts(mixed(init));
  auto& constant = dynamic_cast<Constant&>(*experts.layers[1]);
  constant.value = random_tensor({4}, 8);
  for (const Routing& r : {even(), uneven()}) {
    const Tensor x = slots_of(r);
    Context context;
    const Tensor y = experts.forward(x, r, context);
    REQUIRE(y.shape() == x.shape());
    for_each_index(x.shape(), [&](const std::vector<i64>& at) {
      double want = 0;
      const i64 e = expert_of(r, at[1]);
      if (e == 2) want = value_at(x, at);
      if (e == 1) {
        double logit[2] = {0, 0};
        for (i64 d = 0; d < 4; ++d)
          for (i64 j : {0, 1}) logit[j] += value_at(constant.weight, {j, d}) * value_at(x, {at[0], at[1], d});
        const double a = 1 / (1 + std::exp(logit[1] - logit[0]));
        want = a * value_at(x, at) + (1 - a) * value_at(constant.value, {at[2]});
      }
      CHECK_EQ(value_at(y, at), doctest::Approx(want));
    });
  }
  const GradReport report = gradcheck(experts,
                                      [&](const std::vector<Tensor>& x) {
                                        Context context;
                                        return experts.forward(x[0], even(), context);
                                      },
                                      {slots_of(even())}, {.order = 2});
  CHECK_MESSAGE(report.ok, report.text());
}

TEST_CASE("experts: groups side by side are one list, dropless or with a capacity") {
  Random random(2);
  Init init(random, DType::f64);
  auto batched = std::make_unique<FeedForwardExperts>(4, FeedForwardExperts::Options{.experts = 2, .hidden = 3}, init);
  const FeedForwardExperts& two = *batched;
  std::vector<std::unique_ptr<Layer>> list;
  for (i64 e = 0; e < 2; ++e) {
    auto layer = std::make_unique<FeedForward>(4, FeedForward::Options{.hidden = 3, .bias = false}, init);
    no_grad guard;
    layer->w1.weight.assign(transpose(two.w1[e]));
    layer->w2.weight.assign(transpose(two.w2[e]));
    list.push_back(std::move(layer));
  }
  list.push_back(std::make_unique<Identity>());
  ModuleExperts one_by_one(std::move(list));
  std::vector<std::unique_ptr<Layer>> last;
  last.push_back(std::make_unique<Identity>());
  std::vector<ExpertGroups::Group> groups;
  groups.push_back({2, std::move(batched)});
  groups.push_back({1, std::make_unique<ModuleExperts>(std::move(last))});
  ExpertGroups experts(std::move(groups));
  for (const Routing& r : {even(), uneven()}) {
    Context context;
    CHECK_LE(difference(experts.forward(slots_of(r), r, context), one_by_one.forward(slots_of(r), r, context)), 1e-12);
  }
  CHECK_EQ(experts.state_dict()[2].name, "groups.0.1.w1.weight");
}

TEST_CASE("experts: layers see slots, not positions: no mask, and their own path") {
  std::vector<std::unique_ptr<Layer>> list;
  for (int e = 0; e < 3; ++e) list.push_back(std::make_unique<Witness>());
  ModuleExperts experts(std::move(list));
  Context context;
  context.mask = full({2, 5}, 1, DType::boolean);
  experts.forward(slots_of(even()), even(), context);
  REQUIRE_EQ(context.records.size(), 3);
  CHECK_EQ(context.records[2].name, "2.unmasked");
  CHECK(static_cast<bool>(context.mask));
}

TEST_CASE("ModuleExperts: mixtures as experts see no empty slots, whatever the capacity") {
  Random random(3);
  Init init(random, DType::f64);
  std::vector<std::map<std::string, Tensor>> losses;
  std::vector<Tensor> ys;
  StateDict state;
  for (const double factor : {0.0, 2.0, 8.0}) {  // dropless, and more slots than tokens
    std::vector<std::unique_ptr<Layer>> list;
    for (int e = 0; e < 2; ++e) list.push_back(make_moe(4, {.experts = 3, .k = 1, .hidden = 5}, init));
    MoE moe(std::make_unique<TopKRouter>(4, TopKRouter::Options{.experts = 2, .k = 1, .capacity = {.factor = factor}},
                                         init),
            std::make_unique<ModuleExperts>(std::move(list)));
    if (state.empty()) state = moe.state_dict();
    moe.load_state_dict(state);
    const Tensor x = random_tensor({1, 9, 4}, 5, -2, 2);
    Context context;
    ys.push_back(moe.forward(x, context));
    losses.push_back(context.losses);
    i64 inner = 0;
    for (const NamedTensor& r : context.records)
      if (r.name.starts_with("experts.") && r.name.ends_with(".load")) inner += static_cast<i64>(sum(r.tensor).item());
    CHECK_EQ(inner, 9);
    CHECK_FALSE(static_cast<bool>(context.mask));
    CHECK_LE(difference(ys.back(), ys.front()), 1e-13);
    for (const auto& [name, loss] : losses.front()) CHECK_LE(difference(losses.back().at(name), loss), 1e-13);
  }
}

TEST_CASE("experts: lists that do not fit are named") {
  CHECK_THROWS_WITH_AS(ModuleExperts(std::vector<std::unique_ptr<Layer>>(2)),
                       "ModuleExperts: every expert must be a layer; got none for expert 0", Error);
  CHECK_THROWS_WITH_AS(ExpertGroups(std::vector<ExpertGroups::Group>(1)),
                       "ExpertGroups: every group must have members; got none in 0", Error);
  CHECK_THROWS_WITH_AS(ModuleExperts({}), "ModuleExperts: there must be at least one layer; got none", Error);
  CHECK_THROWS_WITH_AS(ExpertGroups({}), "ExpertGroups: there must be at least one group; got none", Error);
  Random random(1);
  Init init(random);
  std::vector<ExpertGroups::Group> groups;
  groups.push_back({-2, std::make_unique<LinearExperts>(4, LinearExperts::Options{}, init)});
  CHECK_THROWS_WITH_AS(ExpertGroups(std::move(groups)),
                       "ExpertGroups: every group must have at least one expert; got -2 in 0", Error);
  std::vector<std::unique_ptr<Layer>> list;
  for (int e = 0; e < 3; ++e) list.push_back(std::make_unique<TwoRows>());
  ModuleExperts experts(std::move(list));
  Context context;
  CHECK_THROWS_WITH_AS(experts.forward(slots_of(even()), even(), context),
                       "ModuleExperts: expert 0 must keep the axes [G, C] of its slots [2, 2, 4]; got [2, 1, 4]",
                       ShapeError);
  experts.layers.pop_back();
  CHECK_THROWS_WITH_AS(experts.forward(slots_of(even()), even(), context),
                       "ModuleExperts: the routing must have as many experts; got 2 experts and a routing of 3",
                       ShapeError);
}
