#include "nn/moe/st_moe.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/choose.h"
#include "core/memory.h"
#include "nn/gradcheck.h"
#include "nn/moe/losses.h"
#include "nn/moe/module_experts.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Counted = StMoERouter::Counted;

struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  std::unique_ptr<StMoE> moe;
  Setup(i64 width, const StMoE::Options& o) : moe(std::make_unique<StMoE>(width, o, init)) {
    auto& experts = dynamic_cast<FeedForwardExperts&>(*moe->experts);
    experts.value_scale = random_tensor(experts.value_scale.shape(), 3, 0.5, 1.5).requires_grad_();
    auto& router = dynamic_cast<StMoERouter&>(*moe->router);
    router.to_gates.weight = random_tensor({o.router.experts, width}, 4, -2, 2).requires_grad_();
  }
};

Context replaying(const Tensor& u, bool training, const Tensor& mask = {}) {
  Context context{.training = training};
  context.replayed.tensors = {u};
  context.mask = mask;
  return context;
}

// What the layer gives, token by token, as its card says.
struct Naive {
  Tensor y;
  double balance_all = 0, balance_kept = 0, z = 0;
  i64 dropped = 0;
};

double gelu(double v) { return 0.5 * v * std::erfc(-v / std::sqrt(2.0)); }

// Adds gate * expert(x) of one token to y.
void add_expert(const FeedForwardExperts& w, const Tensor& x, const std::vector<i64>& token, i64 e, double gate,
                const Tensor& y) {
  const i64 D = w.w2.dim(2), F = w.w2.dim(1);
  const auto hidden = [&](i64 f) {
    double v = value_at(w.b1, {e, f});
    for (i64 d = 0; d < D; ++d) v += value_at(x, {token[0], token[1], d}) * value_at(w.w1, {e, d, f});
    return v;
  };
  for (i64 d = 0; d < D; ++d) {
    double out = value_at(w.b2, {e, d});
    for (i64 f = 0; f < F; ++f)
      out += hidden(f) * gelu(hidden(F + f)) * value_at(w.value_scale, {e, f}) * value_at(w.w2, {e, f, d});
    const std::vector<i64> at{token[0], token[1], d};
    set_value(y, at, value_at(y, at) + gate * out);
  }
}

struct NaiveTokens {
  std::vector<std::vector<double>> p;
  std::vector<std::vector<i64>> best;
  double z = 0;
};

NaiveTokens naive_probabilities(const Tensor& weight, const Tensor& x, i64 g, const Tensor& mask) {
  const i64 N = x.dim(1), D = x.dim(2), E = weight.dim(0);
  NaiveTokens t;
  for (i64 n = 0; n < N; ++n) {
    std::vector<double> p;
    for (i64 e = 0; e < E; ++e) {
      double logit = 0;
      for (i64 d = 0; d < D; ++d) logit += value_at(x, {g, n, d}) * value_at(weight, {e, d});
      p.push_back(std::exp(logit));
    }
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& v : p) v /= total;
    if (!mask || value_at(mask, {g, n}) != 0) t.z += std::log(total) * std::log(total);
    std::vector<i64> order(p.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](i64 a, i64 b) { return p[static_cast<std::size_t>(a)] > p[static_cast<std::size_t>(b)]; });
    t.p.push_back(p);
    t.best.push_back(order);
  }
  return t;
}

Naive naive_st_moe(const StMoE& moe, const Tensor& x, const Tensor& u, bool training, const Tensor& mask) {
  const auto& router = dynamic_cast<const StMoERouter&>(*moe.router);
  const auto& experts = dynamic_cast<const FeedForwardExperts&>(*moe.experts);
  const i64 G = x.dim(0), N = x.dim(1), E = router.options.experts, K = router.options.top_n;
  const double factor = training ? router.options.capacity_factor_train : router.options.capacity_factor_eval;
  const i64 C = std::max<i64>(
      std::min(N, static_cast<i64>(std::floor(static_cast<double>(N) * factor / static_cast<double>(E)))), 4);
  Naive r{zeros(x.shape(), DType::f64)};
  i64 groups = 0, tokens = 0;
  for (i64 g = 0; g < G; ++g) {
    const NaiveTokens t = naive_probabilities(router.to_gates.weight, x, g, mask);
    const auto real = [&](i64 n) { return !mask || value_at(mask, {g, n}) != 0; };
    const auto p = [&](i64 n, i64 e) { return t.p[static_cast<std::size_t>(n)][static_cast<std::size_t>(e)]; };
    const auto best = [&](i64 n, i64 k) { return t.best[static_cast<std::size_t>(n)][static_cast<std::size_t>(k)]; };
    std::vector<double> used(static_cast<std::size_t>(E)), all = used, kept = used, mass = used;
    for (i64 k = 0; k < K; ++k)
      for (i64 n = 0; n < N; ++n) {
        if (!real(n)) continue;
        double sum_of_gates = 0;
        for (i64 j = 0; j < K; ++j) sum_of_gates += p(n, best(n, j));
        const auto e = static_cast<std::size_t>(best(n, k));
        const double gate = p(n, best(n, k)) / sum_of_gates;
        const auto& thresholds = training ? router.options.threshold_train : router.options.threshold_eval;
        if (k > 0 && !(value_at(u, {k, g, n}) < gate / thresholds[static_cast<std::size_t>(k - 1)])) continue;
        all[e] += k == 0;
        if (used[e] >= static_cast<double>(C)) {
          ++r.dropped;
          continue;
        }
        ++used[e];
        kept[e] += k == 0;
        add_expert(experts, x, {g, n}, best(n, k), gate, r.y);
      }
    i64 here = 0;
    for (i64 n = 0; n < N; ++n) {
      here += real(n);
      for (i64 e = 0; e < E && real(n); ++e) mass[static_cast<std::size_t>(e)] += p(n, e);
    }
    tokens += here;
    r.z += t.z;
    if (here == 0) continue;
    ++groups;
    const double scale = static_cast<double>(E) / static_cast<double>(here * here);
    r.balance_all += scale * std::inner_product(mass.begin(), mass.end(), all.begin(), 0.0);
    r.balance_kept += scale * std::inner_product(mass.begin(), mass.end(), kept.begin(), 0.0);
  }
  r.balance_all /= static_cast<double>(groups);
  r.balance_kept /= static_cast<double>(groups);
  r.z /= static_cast<double>(tokens);
  return r;
}

StMoE::Options small(i64 experts, i64 top_n, std::vector<double> train = {0.3}) {
  StMoE::Options o;
  o.router = {.experts = experts, .top_n = top_n, .threshold_train = std::move(train), .threshold_eval = {0.6}};
  o.hidden_mult = 1;
  return o;
}

const Tensor& the_mask() {
  static const Tensor made =
      ne(tensor({{1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}), scalar(0));
  return made;
}

}  // namespace

TEST_CASE("StMoE: equals its definition in loops: top 2 to 4, training and evaluation, masks, drops") {
  const Tensor x = random_tensor({2, 12, 5}, 1, -2, 2);
  for (const i64 K : {2, 3, 4})
    for (const bool training : {true, false})
      for (const Tensor& mask : {Tensor{}, the_mask()}) {
        CAPTURE(K);
        CAPTURE(training);
        Setup s(5, small(4, K, K == 3 ? std::vector<double>{0.4, 0.2} : std::vector<double>{0.5}));
        const Tensor u = random_tensor({K, 2, 12}, 2, 0, 1);
        const Naive want = naive_st_moe(*s.moe, x, u, training, mask);
        Context context = replaying(u, training, mask);
        const Tensor y = s.moe->forward(x, context);
        CHECK_LE(difference(y, want.y), 1e-12);
        CHECK_GT(amax(abs(want.y)).item(), 0.1);
        CHECK_EQ(context.records.at(1).tensor.item(), want.dropped);
        if (training) CHECK_GT(want.dropped, 0);
        CHECK_EQ(context.losses.size(), training ? 2 : 0);
        if (!training) continue;
        CHECK_EQ(context.losses.at("load_balancing").item(), doctest::Approx(want.balance_all).epsilon(1e-12));
        CHECK_EQ(context.losses.at("router_z").item(), doctest::Approx(want.z).epsilon(1e-12));
        CHECK_EQ(s.moe->auxiliary_loss(context).item(), doctest::Approx(0.01 * want.balance_all + 0.001 * want.z));
        dynamic_cast<StMoERouter&>(*s.moe->router).options.counted = Counted::kept;
        context = replaying(u, training, mask);
        s.moe->forward(x, context);
        CHECK_EQ(context.losses.at("load_balancing").item(), doctest::Approx(want.balance_kept).epsilon(1e-12));
        CHECK_LT(want.balance_kept, want.balance_all);
      }
}

TEST_CASE("StMoE: gradients through the router, with a mask and an expert without tokens") {
  for (const Tensor& mask : {Tensor{}, the_mask()}) {
    StMoE::Options o = small(5, 2);
    Setup s(3, o);
    auto& router = dynamic_cast<StMoERouter&>(*s.moe->router);
    // Positive inputs: expert 4 is nobody's choice.
    const Tensor x = random_tensor({2, 12, 3}, 1, 0.1, 2), u = random_tensor({2, 2, 12}, 2, 0, 1);
    for (i64 d = 0; d < 3; ++d) set_value(router.to_gates.weight, {4, d}, -3);
    const auto forward = [&](const std::vector<Tensor>& in) {
      Context context = replaying(u, true, mask);
      const Tensor y = s.moe->forward(in[0], context);
      CHECK_EQ(value_at(context.records.at(0).tensor, {4}), 0);
      return sum(y * random_tensor(y.shape(), 5)) + s.moe->auxiliary_loss(context);
    };
    const GradReport report = gradcheck(*s.moe, forward, {x}, {.redraw = 20});
    CHECK_MESSAGE(report.ok, report.text());
    Tensor leaf = x.detach().requires_grad_();
    std::vector<Tensor> all = s.moe->parameters();
    all.push_back(leaf);
    for (const Tensor& d : grad(forward({leaf}), all)) CHECK(moegrad::all(isfinite(d)).item() == 1);
  }
}

TEST_CASE("StMoE: straight through: the value as before, the gradient that of dispatch + combine - combine.detach()") {
  const Tensor x = random_tensor({2, 9, 4}, 1, -2, 2), u = random_tensor({2, 2, 9}, 2, 0, 1),
               w = random_tensor({2, 9, 4}, 3);
  StMoE::Options o = small(3, 2);
  Setup plain(4, o);
  o.router.straight_through = true;
  Setup s(4, o);
  s.moe->load_state_dict(plain.moe->state_dict());
  std::vector<Tensor> leaves = s.moe->parameters();
  leaves.push_back(x.detach().requires_grad_());
  Context context = replaying(u, false);
  const Routing r = s.moe->route(leaves.back(), context);
  const Tensor y = s.moe->process(leaves.back(), r, context);
  Context other = replaying(u, false);
  CHECK_EQ(difference(y, plain.moe->forward(x, other)), 0);

  // The definition, with tensors [G, N, E, C].
  const Tensor combine = dense_combine(r), ones = dense_dispatch(r).detach();
  const i64 E = 3, C = r.slots_per_expert();
  CHECK_EQ(difference(ones, cast(gt(combine, scalar(0, DType::f64)), DType::f64)), 0);
  const Tensor slots = einsum("gnd,gnec->gecd", leaves.back(), ones + combine - combine.detach());
  const Tensor out = s.moe->experts->forward(reshape(slots, {2, E * C, 4}), r, context);
  const Tensor dense = einsum("gecd,gnec->gnd", reshape(out, {2, E, C, 4}), combine);
  CHECK_LE(difference(y, dense), 1e-14);
  const std::vector<Tensor> got = grad(sum(y * w), leaves, {.retain_graph = true});
  const std::vector<Tensor> want = grad(sum(dense * w), leaves);
  for (std::size_t i = 0; i < got.size(); ++i) CHECK_LE(difference(got[i], want[i]), 1e-13);
  // It does differ from the gradient without.
  Context third = replaying(u, false);
  const Tensor gate = dynamic_cast<StMoERouter&>(*plain.moe->router).to_gates.weight;
  CHECK_GT(difference(grad(sum(plain.moe->forward(x, third) * w), {gate})[0], got[0]), 1e-3);
}

TEST_CASE("StMoE: differentiable_topk: other gates for the same choice, whose gradient reaches every expert's logit") {
  const Tensor x = random_tensor({2, 12, 3}, 1, 0.1, 2), u = random_tensor({2, 2, 12}, 2, 0, 1);
  StMoE::Options o = small(5, 2);
  o.router.threshold_train = o.router.threshold_eval = {0};  // every second choice is taken
  o.router.differentiable_topk = true;
  for (const Tensor& mask : {Tensor{}, the_mask()}) {
    Setup s(3, o);
    const auto forward = [&](const std::vector<Tensor>& in) {
      Context context = replaying(u, true, mask);
      const Tensor y = s.moe->forward(in[0], context);
      return sum(y * random_tensor(y.shape(), 5)) + s.moe->auxiliary_loss(context);
    };
    const GradReport report = gradcheck(*s.moe, forward, {x}, {.redraw = 20});
    CHECK_MESSAGE(report.ok, report.text());
    Context context = replaying(u, false, mask);
    const Routing r = s.moe->route(x, context);
    const Tensor best = top_k(r.probabilities, 2, -1).indices;
    const Tensor scores = take_along(coordinate_descent(r.probabilities, 2.25), -1, best);
    CHECK_LE(difference(r.gates, scores / sum(scores, -1, keep_dims)), 1e-15);
    // Without the option, gates are a softmax over the chosen alone.
    const Tensor d = grad(sum(r.combine * random_tensor(r.combine.shape(), 6)), {r.logits})[0];
    CHECK_GT(amax(abs(d * (1.0 - cast(dense(sum(one_hot(best, 5), -2)), DType::f64)))).item(), 1e-3);
  }
}

TEST_CASE("StMoE: no tensor of tokens x experts x capacity elements, forward or backward") {
  StMoE::Options o = small(8, 2);
  o.router.straight_through = true;
  Setup s(4, o);
  Tensor x = random_tensor({1, 512, 4}, 1, -2, 2);
  x.requires_grad_();
  Random random(1);
  Context context{.training = true, .random = &random};
  const i64 capacity = dynamic_cast<StMoERouter&>(*s.moe->router).capacity(512, true);
  CHECK_EQ(capacity, 80);
  memory::AllocationLog log;
  const Tensor y = s.moe->forward(x, context);
  grad(sum(y) + s.moe->auxiliary_loss(context), {x});
  CHECK_GE(log.largest(), 512 * 8);  // probabilities
  CHECK_LT(log.largest(), 4 * 512 * 8);
}

TEST_CASE("StMoE: second choices are taken as often as gate / threshold says, and by a recorded choice") {
  StMoE::Options o = small(2, 2, {0.8});
  o.router.capacity_factor_train = 2, o.hidden_mult = 2;
  Setup s(1, o);
  auto& router = dynamic_cast<StMoERouter&>(*s.moe->router);
  router.to_gates.weight = tensor({{1}, {0}}, DType::f64);
  Random random(3);
  Context context{.training = true, .random = &random};
  constexpr i64 kTokens = 20000;
  const Routing r = s.moe->route(ones({1, kTokens, 1}, DType::f64), context);
  const Tensor share = mean(cast(taken_choices(r), DType::f64), {1, 2});
  CHECK_EQ(value_at(share, {0}), 1);
  const double gate = 1 / (1 + std::exp(1.0));
  CHECK_LE(std::abs(value_at(share, {1}) - gate / 0.8), 0.015);  // four deviations of at most sqrt(1/4 / 20000)

  RouteTape tape;
  {
    const TapeScope scope(tape, TapeMode::measure);
    Context again = replaying(tensor({{{0.3, 0.9}}, {{0.3, 0.35}}}, DType::f64), true);
    s.moe->route(ones({1, 2, 1}, DType::f64), again);
  }
  REQUIRE_EQ(tape.choices().size(), 2);
  CHECK_EQ(tape.choices()[1].name, "second_choices");
  CHECK_EQ(tape.choices()[1].margin, doctest::Approx(std::abs(gate / 0.8 - 0.35)));
}

TEST_CASE("StMoE: gate noise changes the choice and the probabilities, not the z-loss") {
  StMoE::Options o = small(4, 2);
  o.router.gate_noise = 0.5;
  Setup s(3, o);
  const Tensor x = random_tensor({2, 6, 3}, 1), g = random_tensor({2, 6, 4}, 2), u = random_tensor({2, 2, 6}, 3, 0, 1);
  Context context{.training = true};
  context.replayed.tensors = {g, u};
  const Routing r = s.moe->route(x, context);
  CHECK_LE(difference(r.probabilities, softmax(r.logits + g * 0.5, -1)), 1e-15);
  CHECK_EQ(context.losses.at("router_z").item(), router_z_loss(r.logits).item());
  Context evaluation = replaying(u, false);
  CHECK_LE(difference(s.moe->route(x, evaluation).probabilities, softmax(r.logits, -1)), 1e-15);
  dynamic_cast<StMoERouter&>(*s.moe->router).options.gate_noise_in_evaluation = true;
  Context noisy;
  noisy.replayed.tensors = {g, u};
  CHECK_EQ(difference(s.moe->route(x, noisy).probabilities, r.probabilities), 0);
}

TEST_CASE("StMoE: capacity, sizes 0 and 1, f32 and bf16, other experts") {
  Setup s(6, small(4, 2));
  const auto& router = dynamic_cast<const StMoERouter&>(*s.moe->router);
  CHECK_EQ(router.capacity(3, true), 4);
  CHECK_EQ(router.capacity(100, true), 31);
  CHECK_EQ(router.capacity(100, false), 50);
  for (const Shape& shape : {Shape{1, 1, 6}, Shape{0, 5, 6}, Shape{2, 0, 6}, Shape{3, 2, 4, 6}}) {
    Random random(1);
    Context context{.training = true, .random = &random};
    const Tensor x = random_tensor(shape, 1).requires_grad_();
    const Tensor y = s.moe->forward(x, context);
    CHECK_EQ(y.shape(), shape);
    const Tensor dx = grad(sum(y) + s.moe->auxiliary_loss(context), {x})[0];
    CHECK(all(isfinite(dx)).item() == 1);
  }
  const Tensor x = random_tensor({2, 12, 6}, 1), u = random_tensor({2, 2, 12}, 2, 0, 1);
  Context exact = replaying(u, true);
  const Tensor want = s.moe->forward(x, exact);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    s.moe->to(dtype);
    Context context = replaying(cast(u, DType::f32), true);
    const Tensor y = s.moe->forward(cast(x, dtype), context);
    CHECK_EQ(y.dtype(), dtype);
    CHECK_LE(difference(cast(y, DType::f64), want), dtype == DType::f32 ? 1e-5 : 0.03);
    CHECK_EQ(context.losses.at("router_z").dtype(), DType::f32);
  }
  std::vector<std::unique_ptr<Layer>> layers;
  for (int e = 0; e < 4; ++e) layers.push_back(std::make_unique<Identity>());
  StMoE identity(6, small(4, 2), std::make_unique<ModuleExperts>(std::move(layers)), s.init);
  Context context = replaying(u, false);
  const Routing r = identity.route(x, context);
  const Tensor kept = sum(dense_combine(r), {2, 3});  // [G, N]
  CHECK_LE(difference(identity.process(x, r, context), x * unsqueeze(kept, -1)), 1e-14);
}

TEST_CASE("StMoE: errors") {
  Random random(5);
  Init init(random);
  const auto make = [&](StMoERouter::Options r, double hidden_mult = 4) {
    return StMoE(6, {.router = std::move(r), .hidden_mult = hidden_mult}, init);
  };
  CHECK_THROWS_WITH_AS(make({.top_n = 1}), "StMoE: top_n must be in [2, experts]; got 1 of 16 experts", Error);
  CHECK_THROWS_WITH_AS(make({.experts = 3, .top_n = 4}), "StMoE: top_n must be in [2, experts]; got 4 of 3 experts",
                       Error);
  CHECK_THROWS_WITH_AS(make({.top_n = 4, .threshold_eval = {0.1, 0.2}}),
                       "StMoE: thresholds must be >= 0, one or top_n - 1 = 3 of them; got [0.1, 0.2]", Error);
  CHECK_THROWS_WITH_AS(make({.threshold_train = {-1}}),
                       "StMoE: thresholds must be >= 0, one or top_n - 1 = 1 of them; got [-1]", Error);
  CHECK_THROWS_WITH_AS(make({.capacity_factor_eval = -0.5}), "StMoE: capacity factors must be >= 0; got -0.5", Error);
  CHECK_THROWS_WITH_AS(make({.least_capacity = 0}), "StMoE: least_capacity must be >= 1; got 0", Error);
  CHECK_THROWS_WITH_AS(make({.gate_noise = -1}), "StMoE: gate_noise must be >= 0; got -1", Error);
  CHECK_THROWS_WITH_AS(make({.topk_ratio = 0.5}), "StMoE: topk_ratio must be >= 1; got 0.5", Error);
  CHECK_THROWS_WITH_AS(make({.descent = {.eps = 0}}), "StMoE: eps must be above 0 and finite; got 0", Error);
  CHECK_THROWS_WITH_AS(make({}, 0.1),
                       "StMoE: the hidden size, 2/3 hidden_mult width, must be >= 1; got hidden_mult 0.1 and width 6",
                       Error);
  CHECK_THROWS_WITH_AS(make({}, 1e300),
                       "StMoE: the hidden size, 2/3 hidden_mult width, must be >= 1; got hidden_mult 1e+300 and width "
                       "6",
                       Error);
  CHECK_THROWS_WITH_AS(make({.experts = 0}), "StMoE: top_n must be in [2, experts]; got 2 of 0 experts", Error);
  CHECK_THROWS_WITH_AS(StMoE(6, {}, nullptr, init), "MoE: it must have a router and experts; got no experts", Error);
  Context context;
  CHECK_THROWS_WITH_AS(make({}).forward(zeros({1, 2, 6}), context),
                       "context: the layer needs random numbers; set Context::random to a Random", Error);
}
