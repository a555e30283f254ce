#include "nn/moe/moe_layer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/moe/soft_router.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }
using Row = std::vector<double>;

Row row_of(const Tensor& x, i64 t) {
  Row row;
  for (i64 d = 0; d < x.dim(-1); ++d) row.push_back(value_at(x, {t / x.dim(1), t % x.dim(1), d}));
  return row;
}
Row linear_row(const Row& x, const Tensor& w, const Tensor& b) {  // w [out, in]
  Row y;
  for (i64 o = 0; o < w.dim(0); ++o) {
    y.push_back(b ? value_at(b, {o}) : 0);
    for (i64 i = 0; i < w.dim(1); ++i) y.back() += x[at(i)] * value_at(w, {o, i});
  }
  return y;
}

// What the project's classes compute, token by token and expert by expert, from the state dictionary alone.
struct Reference {
  StateDict state;
  bool gated;
  const Tensor find(const std::string& name) const {
    for (const NamedTensor& t : state)
      if (t.name == name) return t.tensor;
    return {};
  }
  Row expert(i64 e, const Row& x) const {
    const std::string name = "experts." + std::to_string(e) + ".";
    Row h = linear_row(x, find(name + (gated ? "gate_up" : "up") + ".weight"), find(name + "up.bias"));
    const auto silu_of = [](double v) { return v / (1 + std::exp(-v)); };
    if (gated) {
      const std::size_t half = h.size() / 2;
      for (std::size_t f = 0; f < half; ++f) h[f] = silu_of(h[f]) * h[half + f];
      h.resize(half);
    } else {
      for (double& v : h) v = silu_of(v);
    }
    return linear_row(h, find(name + "down.weight"), find(name + "down.bias"));
  }
  double logit(const Row& x, i64 e) const {
    double y = 0;
    for (std::size_t d = 0; d < x.size(); ++d) y += x[d] * value_at(find("weight"), {static_cast<i64>(d), e});
    return y;
  }
  // Adds softmax-weighted outputs of `pairs`, (token, expert), whose weights sum to 1.
  void add(const Tensor& y, const Tensor& x, const std::vector<std::pair<i64, i64>>& pairs) const {
    double total = 0;
    for (const auto& [t, e] : pairs) total += std::exp(logit(row_of(x, t), e));
    for (const auto& [t, e] : pairs) {
      const Row out = expert(e, row_of(x, t));
      const double gate = std::exp(logit(row_of(x, t), e)) / total;
      for (i64 d = 0; d < x.dim(2); ++d) {
        const std::vector<i64> to{t / x.dim(1), t % x.dim(1), d};
        set_value(y, to, value_at(y, to) + gate * out[at(d)]);
      }
    }
  }
  // The `count` best of `n` candidates, of equal ones the first.
  static std::vector<i64> best(i64 n, i64 count, const std::function<double(i64)>& score) {
    std::vector<i64> order(at(n));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](i64 a, i64 b) { return score(a) > score(b); });
    order.resize(at(count));
    return order;
  }
};

std::string names_of(Module& m) {
  std::string names;
  for (const NamedTensor& t : m.state_dict()) names += t.name + " ";
  return names;
}

}  // namespace

TEST_CASE("TopkMoE: token by token, its k best experts weighted by the softmax of their logits") {
  for (const Activation activation : {Activation::silu, Activation::swiglu})
    for (const i64 k : {1, 2, 3}) {
      Random random(7);
      Init init(random, DType::f64);
      TopkMoE layer(5, {.experts = 3, .hidden = 4, .activation = activation}, k, init);
      const Reference reference{layer.state_dict(), is_gated(activation)};
      const Tensor x = random_tensor({2, 6, 5}, 3, -3, 3), want = zeros({2, 6, 5}, DType::f64);
      for (i64 t = 0; t < 12; ++t) {
        std::vector<std::pair<i64, i64>> pairs;
        for (const i64 e : Reference::best(3, k, [&](i64 i) { return reference.logit(row_of(x, t), i); }))
          pairs.emplace_back(t, e);
        reference.add(want, x, pairs);
      }
      Context context;
      CHECK_LE(difference(layer.forward(x, context), want), 1e-13);
    }
}

TEST_CASE("ExpertChoiceMoE: every expert's best tokens of the whole batch, weighted by the softmax over them") {
  for (const Activation activation : {Activation::silu, Activation::swiglu})
    for (const double factor : {0.3, 1.25, 9.0}) {
      Random random(7);
      Init init(random, DType::f64);
      ExpertChoiceMoE layer(5, {.experts = 3, .hidden = 4, .activation = activation}, factor, init);
      const Reference reference{layer.state_dict(), is_gated(activation)};
      const Tensor x = random_tensor({2, 6, 5}, 3, -3, 3), want = zeros({2, 6, 5}, DType::f64);
      const i64 C = std::min<i64>(12, static_cast<i64>(factor * 12 / 3));
      for (i64 e = 0; e < 3; ++e) {
        std::vector<std::pair<i64, i64>> pairs;
        for (const i64 t : Reference::best(12, C, [&](i64 i) { return reference.logit(row_of(x, i), e); }))
          pairs.emplace_back(t, e);
        reference.add(want, x, pairs);
      }
      Context context;
      CHECK_LE(difference(layer.forward(x, context), want), 1e-13);
    }
}

TEST_CASE("MoELayer: rows of a batch do not see each other, under any router") {
  Random random(7);
  Init init(random, DType::f64);
  const Capacity capacity{.factor = 1, .rule = Capacity::Rule::tokens};
  std::unique_ptr<Router> routers[3];
  routers[0] = std::make_unique<TopKRouter>(5, TopKRouter::Options{.experts = 3, .capacity = capacity}, init);
  routers[1] =
      std::make_unique<ExpertChoiceRouter>(5, ExpertChoiceRouter::Options{.experts = 3, .capacity = capacity}, init);
  routers[2] = std::make_unique<SoftRouter>(5, SoftRouter::Options{.experts = 3, .slots = 2}, init);
  for (auto& router : routers) {
    MoELayer layer(std::move(router),
                   std::make_unique<LinearExperts>(5, LinearExperts::Options{.experts = 3, .out = 4}, init));
    const Tensor x = random_tensor({3, 6, 5}, 3, -3, 3);
    Context context;
    const Tensor y = layer.forward(x, context);
    CHECK_EQ(y.shape(), Shape{3, 6, 4});
    for (i64 b = 0; b < 3; ++b) {
      Context alone;
      CHECK_LE(difference(y[b], layer.forward(slice(x, 0, {b, b + 1}), alone)[0]), 1e-14);
    }
    CHECK_GT(difference(y[0], y[1]), 0.001);
  }
}

TEST_CASE("MoELayer, TopkMoE, ExpertChoiceMoE: the projects' names and shapes") {
  Random random(7);
  Init init(random, DType::f64);
  const RouterGate::Options gate{.columns = true, .weight = "weights.w_gate"};
  MoELayer layer(std::make_unique<TopKRouter>(5, TopKRouter::Options{.experts = 2, .gate = gate}, init),
                 std::make_unique<LinearExperts>(5, LinearExperts::Options{.experts = 2}, init));
  CHECK_EQ(names_of(layer),
           "router.weights.w_gate experts.experts.0.weight experts.experts.0.bias experts.experts.1.weight "
           "experts.experts.1.bias ");
  CHECK_EQ(layer.state_dict()[0].tensor.shape(), Shape{5, 2});
  TopkMoE plain(5, {.experts = 1, .hidden = 3}, 1, init);
  CHECK_EQ(names_of(plain), "weight experts.0.up.weight experts.0.up.bias experts.0.down.weight experts.0.down.bias ");
  ExpertChoiceMoE gated(5, {.experts = 1, .hidden = 3, .activation = Activation::reglu}, 1, init);
  CHECK_EQ(names_of(gated), "weight experts.0.gate_up.weight experts.0.down.weight experts.0.down.bias ");
  CHECK_EQ(gated.state_dict()[1].tensor.shape(), Shape{6, 5});
}

TEST_CASE("TopkMoE, ExpertChoiceMoE: gradients of everything, with a mask; an expert of TopkMoE gets no token") {
  Random random(7);
  Init init(random, DType::f64);
  const MixtureOptions options{.experts = 3, .hidden = 3, .activation = Activation::swiglu};
  TopkMoE tokens(4, options, 2, init);
  ExpertChoiceMoE experts(4, options, 0.9, init);  // each picks 3 of 4
  {
    no_grad guard;
    for (i64 d = 0; d < 4; ++d) set_value(dynamic_cast<TopKRouter&>(*tokens.router).gate.weight, {d, 1}, -9);
  }
  const Tensor x = random_tensor({2, 5, 4}, 3, 0.1, 1),
               mask = tensor({{1, 1, 0, 1, 1}, {0, 0, 0, 0, 0}}, DType::boolean);
  for (MoE* layer : {static_cast<MoE*>(&tokens), static_cast<MoE*>(&experts)}) {
    Tensor load;
    const auto forward = [&](const std::vector<Tensor>& in) {
      Context context{.mask = mask};
      Tensor y = layer->forward(in[0], context);
      load = context.records.front().tensor;
      for (const auto& [name, loss] : context.losses) y = y + loss;
      return y;
    };
    const GradReport report = gradcheck(*layer, forward, {x}, {.most = 40, .redraw = 20});
    CHECK_MESSAGE(report.ok, report.table());
    CHECK(load.to_vector<i64>() == (layer == &tokens ? std::vector<i64>{4, 0, 4} : std::vector<i64>{3, 3, 3}));
  }
}

TEST_CASE("MoELayer: gradients through its three routers, with a mask and an expert that gets no token") {
  Random random(9);
  Init init(random, DType::f64);
  const RouterGate::Options gate{.columns = true, .weight = "weights.w_gate"};
  const Capacity capacity{.factor = 1.5, .rule = Capacity::Rule::tokens};
  auto top_k = std::make_unique<TopKRouter>(
      4, TopKRouter::Options{.experts = 3, .capacity = capacity, .renormalize = false, .gate = gate}, init);
  {
    no_grad guard;
    for (i64 d = 0; d < 4; ++d) set_value(top_k->gate.weight, {d, 1}, -9);
  }
  std::unique_ptr<Router> routers[3];
  routers[0] = std::move(top_k);
  routers[1] = std::make_unique<ExpertChoiceRouter>(
      4, ExpertChoiceRouter::Options{.experts = 3, .capacity = capacity, .gate = gate}, init);
  routers[2] = std::make_unique<SoftRouter>(4, SoftRouter::Options{.experts = 3, .slots = 2}, init);
  const Tensor x = random_tensor({2, 5, 4}, 3, 0.1, 1),
               mask = tensor({{1, 1, 0, 1, 1}, {1, 0, 1, 1, 0}}, DType::boolean);
  for (int i = 0; i < 3; ++i) {
    CAPTURE(i);
    MoELayer layer(std::move(routers[i]),
                   std::make_unique<LinearExperts>(4, LinearExperts::Options{.experts = 3}, init));
    const auto forward = [&](const std::vector<Tensor>& in) {
      Context context{.mask = mask};
      Tensor y = layer.forward(in[0], context);
      for (const auto& [name, loss] : context.losses) y = y + loss;
      return y;
    };
    Context context{.mask = mask};
    const Routing r = layer.route(x, context);
    if (i == 0) CHECK_EQ(r.load.to_vector<i64>()[1], 0);
    const GradReport report = gradcheck(layer, forward, {x}, {.order = 2, .most = 30, .redraw = 20});
    CHECK_MESSAGE(report.ok, report.table());
  }
}
