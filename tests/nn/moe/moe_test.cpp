#include "nn/moe/moe.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "ops/autodiff/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// A mixture whose parameters are distinct and random, in f64.
struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  std::unique_ptr<MoE> moe;
  explicit Setup(i64 width, const MoEOptions& o) : moe(make_moe(width, o, init)) {}
};

double activation(double v) { return v > 0 ? v : 0; }

// The layer by its definition: per token, its k best experts, weighted; with a capacity, first choices of all tokens
// first.
Tensor naive_moe(MoE& moe, const Tensor& x, i64 k, double factor, bool renormalize) {
  const auto& router = dynamic_cast<const TopKRouter&>(*moe.router);
  const auto& experts = dynamic_cast<const FeedForwardExperts&>(*moe.experts);
  const i64 B = x.dim(0), N = x.dim(1), D = x.dim(2), E = router.options.experts, F = experts.w1.dim(2);
  const i64 G = factor > 0 ? B : 1, per_group = B * N / G;
  const i64 C = factor > 0
                    ? static_cast<i64>(std::ceil(factor * static_cast<double>(per_group * k) / static_cast<double>(E)))
                    : B * N * k;
  Tensor y = zeros(x.shape(), DType::f64);
  for (i64 g = 0; g < G; ++g) {
    std::vector<std::vector<double>> p(static_cast<std::size_t>(per_group),
                                       std::vector<double>(static_cast<std::size_t>(E)));
    std::vector<std::vector<i64>> best(static_cast<std::size_t>(per_group),
                                       std::vector<i64>(static_cast<std::size_t>(E)));
    const auto at = [&](i64 t, i64 d) { return value_at(x, {(g * per_group + t) / N, (g * per_group + t) % N, d}); };
    for (i64 t = 0; t < per_group; ++t) {
      auto& row = p[static_cast<std::size_t>(t)];
      double total = 0;
      for (i64 e = 0; e < E; ++e) {
        double logit = 0;
        for (i64 d = 0; d < D; ++d) logit += at(t, d) * value_at(router.gate.weight, {e, d});
        total += row[static_cast<std::size_t>(e)] = std::exp(logit);
      }
      for (double& v : row) v /= total;
      auto& order = best[static_cast<std::size_t>(t)];
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](i64 a, i64 b) {
        return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
      });
    }
    std::vector<i64> used(static_cast<std::size_t>(E), 0);
    for (i64 c = 0; c < k; ++c)
      for (i64 t = 0; t < per_group; ++t) {
        const auto& row = p[static_cast<std::size_t>(t)];
        const auto& order = best[static_cast<std::size_t>(t)];
        const i64 e = order[static_cast<std::size_t>(c)];
        if (used[static_cast<std::size_t>(e)]++ >= C) continue;
        double sum_of_gates = 0;
        for (i64 j = 0; j < k; ++j) sum_of_gates += row[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
        const double gate = row[static_cast<std::size_t>(e)] / (renormalize ? sum_of_gates : 1);
        for (i64 f = 0; f < F; ++f) {
          double h = experts.b1 ? value_at(experts.b1, {e, f}) : 0;
          for (i64 d = 0; d < D; ++d) h += at(t, d) * value_at(experts.w1, {e, d, f});
          for (i64 d = 0; d < D; ++d) {
            const std::vector<i64> to{(g * per_group + t) / N, (g * per_group + t) % N, d};
            const double bias = experts.b2 && f == 0 ? value_at(experts.b2, {e, d}) : 0;
            set_value(y, to, value_at(y, to) + gate * (activation(h) * value_at(experts.w2, {e, f, d}) + bias));
          }
        }
      }
  }
  return y;
}

}  // namespace

TEST_CASE("MoE: two tokens, two experts, by hand") {
  Setup s(1, {.experts = 2, .k = 1, .hidden = 1, .activation = Activation::relu, .renormalize = false});
  s.moe->load_state_dict({{"router.gate.weight", tensor({{1}, {-1}}, DType::f64)},
                          {"experts.0.w1.weight", tensor({{2}}, DType::f64)},
                          {"experts.1.w1.weight", tensor({{-3}}, DType::f64)},
                          {"experts.0.w2.weight", tensor({{5}}, DType::f64)},
                          {"experts.1.w2.weight", tensor({{7}}, DType::f64)}});
  Context context;
  const Tensor y = s.moe->forward(tensor({{{1}, {-2}}}, DType::f64), context);
  // token 1: expert 0 with e^1/(e^1+e^-1), 5 relu(2 * 1) = 10;  token -2: expert 1 with e^2/(e^2+e^-2), 7 relu(-3 * -2)
  // = 42
  CHECK_EQ(value_at(y, {0, 0, 0}), doctest::Approx(10 / (1 + std::exp(-2.0))));
  CHECK_EQ(value_at(y, {0, 1, 0}), doctest::Approx(42 / (1 + std::exp(-4.0))));
}

TEST_CASE("MoE: top-k, dropless and with capacity, equals the definition in loops; B > 1, distinct experts") {
  for (const bool bias : {false, true})
    for (const bool renormalize : {true, false})
      for (const double factor : {0.0, 0.6, 1.0, 4.0})
        for (const i64 k : {1, 2, 4}) {
          CAPTURE(bias);
          CAPTURE(renormalize);
          CAPTURE(factor);
          CAPTURE(k);
          Setup s(5, {.experts = 4,
                      .k = k,
                      .capacity_factor = factor,
                      .hidden = 6,
                      .activation = Activation::relu,
                      .bias = bias,
                      .renormalize = renormalize});
          const Tensor x = random_tensor({3, 7, 5}, 3, -3, 3);
          Context context;
          const Tensor y = s.moe->forward(x, context);
          CHECK_LE(difference(y, naive_moe(*s.moe, x, k, factor, renormalize)), 1e-12);
          CHECK_GT(difference(y, zeros_like(y)), 0.01);
        }
}

TEST_CASE("MoE: gradients of inputs and of every parameter, through the router, with an expert that gets no token") {
  for (const double factor : {0.0, 1.0}) {
    CAPTURE(factor);
    Setup s(
        4,
        {.experts = 4, .k = 2, .capacity_factor = factor, .hidden = 3, .activation = Activation::swiglu, .bias = true});
    std::vector<Member> parameters = s.moe->named_parameters();
    std::vector<Tensor> values{random_tensor({2, 5, 4}, 11, 0.1, 1)};
    for (const Member& p : parameters) {
      Tensor v = random_tensor(p.tensor->shape(), 12 + values.size());
      if (p.name == "router.gate.weight")
        for (i64 d = 0; d < 4; ++d) set_value(v, {3, d}, -9);  // inputs are positive, so expert 3 never wins
      values.push_back(v);
    }
    Tensor load;
    const Function f = [&](const std::vector<Tensor>& in) {
      for (std::size_t i = 0; i < parameters.size(); ++i) *parameters[i].tensor = in[i + 1];
      Context context;
      const Tensor y = s.moe->forward(in[0], context);
      load = context.records.front().tensor;
      return y + 0.3 * context.losses.at("load_balancing") + 0.2 * context.losses.at("router_z");
    };
    CHECK_GRADIENTS(f, values, {.order = 2, .most = 40});
    CHECK_EQ(load.to_vector<i64>()[3], 0);
  }
}

TEST_CASE("MoE: an expert without tokens has a gradient of zeros, not none") {
  Setup s(2, {.experts = 3, .k = 1, .hidden = 2});
  set_value(s.moe->named_parameters()[0].tensor->detach(), {2, 0}, -50);
  Context context;
  const Tensor y = s.moe->forward(full({2, 3, 2}, 1, DType::f64), context);
  sum(y).backward();
  const auto& experts = dynamic_cast<const FeedForwardExperts&>(*s.moe->experts);
  REQUIRE(experts.w1.grad());
  CHECK_EQ(sum(abs(experts.w1.grad()[2])).item(), 0);
}

TEST_CASE("MoE: loads, dropped choices and losses reach the context") {
  Setup s(3, {.experts = 4, .k = 2, .capacity_factor = 0.5, .hidden = 2});
  Context context;
  s.moe->forward(random_tensor({2, 8, 3}, 5), context);
  REQUIRE_EQ(context.records.size(), 2);
  const std::vector<i64> load = context.records[0].tensor.to_vector<i64>();
  const i64 in_use = std::accumulate(load.begin(), load.end(), i64{0});
  for (i64 l : load) CHECK_LE(l, 2 * 2);  // two groups of C = ceil(0.5 * 8 * 2 / 4) = 2 slots
  CHECK_EQ(context.records[1].name, "dropped");
  CHECK_EQ(context.records[1].tensor.item(), 2 * 8 * 2 - in_use);
  CHECK_GT(context.losses.at("load_balancing").item(), 0.5);
  CHECK_GT(context.losses.at("router_z").item(), 0);
}

TEST_CASE("MoE: no tokens, one token, one expert, two axes") {
  Setup s(3, {.experts = 2, .k = 2, .hidden = 2});
  Context context;
  CHECK_EQ(s.moe->forward(zeros({2, 0, 3}, DType::f64), context).shape(), Shape{2, 0, 3});
  CHECK_EQ(s.moe->forward(zeros({1, 3}, DType::f64), context).shape(), Shape{1, 3});
  Setup one(3, {.experts = 1, .k = 1, .capacity_factor = 1, .hidden = 2});
  CHECK_EQ(one.moe->forward(zeros({4, 1, 3}, DType::f64), context).shape(), Shape{4, 1, 3});
  CHECK_THROWS_WITH_AS(s.moe->forward(zeros({3}, DType::f64), context), "MoE: x must be [.., N, D]; got [3]",
                       ShapeError);
}

TEST_CASE("MoE: a bf16 model routes as an f32 one with the same weights; probabilities and losses are f32") {
  for (const double factor : {0.0, 1.0}) {
    CAPTURE(factor);
    const MoEOptions options{.experts = 8, .k = 2, .capacity_factor = factor, .hidden = 4};
    Setup narrow(16, options), wide(16, options);
    narrow.moe->to(DType::bf16);
    wide.moe->to(DType::f32);
    StateDict weights = narrow.moe->state_dict();
    for (NamedTensor& w : weights) w.tensor = cast(w.tensor, DType::f32);
    wide.moe->load_state_dict(weights);
    // Logits lie close together: rounded to bf16, many would tie, and the lower number would win.
    const Tensor x = random_tensor({2, 200, 16}, 5, 0.9, 1, DType::bf16), same = cast(x, DType::f32);
    Context a, b;
    const Routing p = narrow.moe->router->route(x, {}, a), q = wide.moe->router->route(same, {}, b);
    CHECK(p.probabilities.dtype() == DType::f32);
    CHECK(p.combine.dtype() == DType::bf16);
    CHECK(p.probabilities.to_vector<float>() == q.probabilities.to_vector<float>());
    CHECK(p.chosen.to_vector<i64>() == q.chosen.to_vector<i64>());
    CHECK(p.load.to_vector<i64>() == q.load.to_vector<i64>());
    for (const char* loss : {"load_balancing", "router_z"})
      CHECK(difference(a.losses.at(loss), b.losses.at(loss)) == 0);
    const Tensor y = narrow.moe->forward(x, a);
    CHECK(y.dtype() == DType::bf16);
    CHECK_LE(difference(y, wide.moe->forward(same, b)), 4 * 0x1p-8);
  }
}

TEST_CASE("MoE: options that make no sense are refused") {
  Random random(1);
  Init init(random);
  CHECK_THROWS_WITH_AS(make_moe(4, {.experts = 2, .k = 3}, init),
                       "TopKRouter: k must be in [1, experts]; got k = 3, experts = 2", Error);
  CHECK_THROWS_WITH_AS(make_moe(4, {.capacity_factor = -1}, init),
                       "TopKRouter: capacity.factor must be >= 0 and finite; got -1", Error);
  CHECK_THROWS_WITH_AS(MoE(nullptr, nullptr), "MoE: it must have a router and experts; got no router", Error);
}

TEST_CASE("MoE: nothing of size tokens x slots is allocated in forward or backward") {
  Setup s(4, {.experts = 8, .k = 2, .hidden = 4});
  Tensor x = random_tensor({2, 300, 4}, 5);
  x.requires_grad_();
  memory::AllocationLog log;
  Context context;
  const Tensor y = s.moe->forward(x, context);
  sum(y * y).backward();
  // Probabilities [1, 600, 8], slots [1200, 4], and where the rows of each slot begin; dispatch would have 1200 * 600.
  CHECK_LE(log.largest(), 600 * 8 + 1);
}
