#include "nn/moe/expert_choice_router.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/moe/moe.h"
#include "ops/autodiff/anomaly.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }
constexpr ChoiceGates kAllGates[] = {ChoiceGates::over_experts, ChoiceGates::over_tokens, ChoiceGates::over_picked,
                                     ChoiceGates::sigmoid, ChoiceGates::logits};

struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  ExpertChoiceRouter router;
  Setup(i64 width, const ExpertChoiceRouter::Options& o) : router(width, o, init) {}
};

// Picks and gates [G, E, C] by the definition in loops.
struct Naive {
  std::vector<i64> picked;
  std::vector<double> gates;
};
Naive naive_choice(const ExpertChoiceRouter& router, const Tensor& x, const Tensor& mask) {
  const i64 G = x.dim(0), N = x.dim(1), D = x.dim(2), E = router.options.experts;
  const i64 C = std::min(N, router.options.capacity.of(N, 1, E));
  Naive y;
  for (i64 g = 0; g < G; ++g) {
    std::vector<std::vector<double>> logit(at(N), std::vector<double>(at(E), 0));
    std::vector<double> of_token(at(N), 0), of_expert(at(E), 0);
    std::vector<i64> here;
    for (i64 n = 0; n < N; ++n) {
      if (mask && value_at(mask, {g, n}) == 0) continue;
      here.push_back(n);
      for (i64 e = 0; e < E; ++e) {
        for (i64 d = 0; d < D; ++d)
          logit[at(n)][at(e)] += value_at(x, {g, n, d}) * value_at(router.gate.weight, {e, d});
        of_token[at(n)] += std::exp(logit[at(n)][at(e)]);
        of_expert[at(e)] += std::exp(logit[at(n)][at(e)]);
      }
    }
    for (i64 e = 0; e < E; ++e) {
      const auto l = [&](i64 n) { return logit[at(n)][at(e)]; };
      const auto affinity = [&](i64 n) {
        return router.options.gates == ChoiceGates::over_experts ? std::exp(l(n)) / of_token[at(n)] : l(n);
      };
      std::vector<i64> order = here;
      std::stable_sort(order.begin(), order.end(), [&](i64 a, i64 b) { return affinity(a) > affinity(b); });
      order.resize(std::min(order.size(), at(C)));
      if (router.options.in_order) std::sort(order.begin(), order.end());
      double of_picked = 0;
      for (const i64 n : order) of_picked += std::exp(l(n));
      for (i64 c = 0; c < C; ++c) {
        const bool used = at(c) < order.size();
        const i64 n = used ? order[at(c)] : -1;
        y.picked.push_back(n);
        double gate = 0;
        if (used) switch (router.options.gates) {
            case ChoiceGates::over_experts: gate = std::exp(l(n)) / of_token[at(n)]; break;
            case ChoiceGates::over_tokens: gate = std::exp(l(n)) / of_expert[at(e)]; break;
            case ChoiceGates::over_picked: gate = std::exp(l(n)) / of_picked; break;
            case ChoiceGates::sigmoid: gate = 1 / (1 + std::exp(-l(n))); break;
            case ChoiceGates::logits: gate = l(n); break;
          }
        y.gates.push_back(gate);
      }
    }
  }
  return y;
}

// Seven, none and one token.
const Tensor& the_mask() {
  static const Tensor made =
      tensor({{1, 1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 0}, {0, 0, 1, 0, 0, 0, 0}}, DType::boolean);
  return made;
}

}  // namespace

TEST_CASE("ExpertChoiceRouter: every kind of gates equals the definition in loops, with and without mask") {
  const Tensor x = random_tensor({3, 7, 5}, 3, -3, 3);
  for (const ChoiceGates kind : kAllGates)
    for (const bool in_order : {false, true})
      for (const double factor : {0.5, 1.0, 2.0, 9.0}) {
        CAPTURE(factor);
        const Setup s(5, {.experts = 4, .capacity = {.factor = factor}, .gates = kind, .in_order = in_order});
        for (const Tensor& mask : {Tensor{}, the_mask()}) {
          Context context;
          const Routing r = s.router.route(x, mask, context);
          const Naive want = naive_choice(s.router, x, mask);
          CHECK(r.token.to_vector<i64>() == want.picked);
          CHECK_LE(difference(r.gates, from_vector(want.gates, r.gates.shape())), 1e-13);
          const Tensor combine = dense(r.combine);
          for_each_index(combine.shape(), [&](const std::vector<i64>& i) {
            const std::size_t slot = at(i[0] * combine.dim(1) + i[1]);
            CHECK_LE(std::abs(value_at(combine, i) - (want.picked[slot] == i[2] ? want.gates[slot] : 0)), 1e-13);
          });
          std::vector<i64> load(4);
          for (std::size_t p = 0; p < want.picked.size(); ++p)
            load[p / at(r.slots_per_expert()) % 4] += want.picked[p] >= 0 ? 1 : 0;
          CHECK(r.load.to_vector<i64>() == load);
          for (i64 g = 0; g < 3; ++g)
            for (i64 n = 0; n < 7; ++n) {
              const auto row = want.picked.begin() + static_cast<std::ptrdiff_t>(g * combine.dim(1));
              const bool picked = std::find(row, row + combine.dim(1), n) != row + combine.dim(1);
              const bool token = !mask || value_at(mask, {g, n}) != 0;
              CHECK_EQ(value_at(r.dropped, {g, n}), token && !picked ? 1 : 0);
            }
          CHECK_EQ(context.losses.size(), 1);
        }
      }
}

TEST_CASE("ExpertChoiceRouter: gates over tokens, over picked tokens and over experts sum to 1 where they should") {
  const Tensor x = random_tensor({3, 7, 5}, 3, -3, 3);
  Context context;
  for (const ChoiceGates kind : {ChoiceGates::over_tokens, ChoiceGates::over_picked}) {
    const Setup s(5, {.experts = 4, .capacity = {.slots = kind == ChoiceGates::over_tokens ? 7 : 3}, .gates = kind});
    const Tensor total = sum(reshape(sum(dense(s.router.route(x, the_mask(), context).combine), -1), {3, 4, -1}), -1);
    for_each_index({3, 4}, [&](const std::vector<i64>& i) {
      CHECK_EQ(value_at(total, i), doctest::Approx(i[0] == 1 ? 0 : 1).epsilon(1e-14));  // group 1 has no token
    });
  }
  const Setup s(5, {.experts = 4, .capacity = {.slots = 7}});
  const Tensor total = sum(dense(s.router.route(x, {}, context).combine), 1);  // [G, N]
  CHECK_LE(difference(total, ones({3, 7}, DType::f64)), 1e-14);
}

TEST_CASE("ExpertChoiceRouter: of equal tokens the first are picked") {
  const Setup s(5, {.experts = 2, .capacity = {.slots = 2}});
  Context context;
  const Routing r = s.router.route(ones({1, 5, 5}, DType::f64), tensor({{0, 1, 1, 1, 1}}, DType::boolean), context);
  CHECK(r.token.to_vector<i64>() == std::vector<i64>{1, 2, 1, 2});
}

TEST_CASE("ExpertChoiceRouter: gradients to order 2 through every kind of gates, with masked rows") {
  for (const ChoiceGates kind : kAllGates) {
    const bool over_experts = kind == ChoiceGates::over_experts;
    Setup s(5, {.experts = 3,
                .capacity = {.factor = 1.5},
                .gates = kind,
                .losses = {.load_balancing = false,
                           .importance = over_experts,
                           .balance_entropy = over_experts,
                           .token_entropy = true},
                .gate = {.bias = true}});
    const Tensor x = random_tensor({3, 7, 5}, 3), values = random_tensor({3, 7, 5}, 4);
    const Function f = [&](const std::vector<Tensor>& in) {
      Context context;
      const Routing r = s.router.route(in[0], the_mask(), context);
      Tensor total = sum(square(einsum("gpn,gnd->gpd", r.combine, values)));
      for (const auto& [name, loss] : context.losses) total = total + loss;
      return total;
    };
    const GradReport report = gradcheck(s.router, f, {x}, {.order = 2, .most = 30});
    CHECK_MESSAGE(report.ok, report.table());
  }
}

TEST_CASE("ExpertChoiceRouter: masked groups meet neither NaN nor infinity on their way, forward and backward") {
  for (const ChoiceGates kind : kAllGates)
    for (const DType dtype : {DType::f64, DType::f32}) {
      Setup s(5, {.experts = 3, .gates = kind});
      s.router.to(dtype);
      Tensor x = random_tensor({3, 7, 5}, 3, -1, 1, dtype);
      x.requires_grad_();
      const AnomalyMode watched;
      Context context;
      const Routing r = s.router.route(x, the_mask(), context);
      grad(sum(einsum("gpn,gnd->gpd", r.combine, x)) + context.losses.at("router_z"), {x});
    }
}

TEST_CASE("ExpertChoiceRouter: noise is drawn for every expert and token, before they are picked") {
  const Setup s(5, {.experts = 3, .capacity = {.slots = 1}, .noise = {.kind = RouterNoiseKind::gumbel}});
  Context training{.training = true};
  training.replayed = {{tensor({{{99, 0, 0, 0}, {0, 99, 0, 0}, {0, 0, 0, 99}}}, DType::f64)}};
  const Routing r = s.router.route(random_tensor({1, 4, 5}, 3), {}, training);
  CHECK(r.token.to_vector<i64>() == std::vector<i64>{0, 1, 3});

  Setup learned(5, {.experts = 3,
                    .capacity = {.slots = 2},
                    .gates = ChoiceGates::logits,
                    .noise = {.kind = RouterNoiseKind::gaussian}});
  const Tensor x = random_tensor({1, 4, 5}, 3), z = random_tensor({1, 3, 4}, 5), w = random_tensor({5, 3}, 6);
  learned.router.load_state_dict({{"gate.weight", learned.router.gate.weight.detach()}, {"noise.weight", w}});
  Context draw{.training = true};
  draw.replayed = {{z}};
  const Routing q = learned.router.route(x, {}, draw);
  const Tensor noisy = swap_axes(q.logits, 1, 2) + z * swap_axes(softplus(matmul(x, w)) + 0.01, 1, 2);
  CHECK_LE(difference(q.gates, top_k(noisy, 2, -1).values), 1e-14);
}

TEST_CASE("ExpertChoiceRouter: one group or one per row; in a mixture, masked and unpicked tokens get nothing") {
  Random random(7);
  Init init(random, DType::f64);
  const auto layer = [&](bool one_group) {
    auto moe = std::make_unique<MoE>(std::make_unique<ExpertChoiceRouter>(
                                         5, ExpertChoiceRouter::Options{.experts = 3, .capacity = {.factor = 1}}, init),
                                     std::make_unique<LinearExperts>(5, LinearExperts::Options{.experts = 3}, init));
    moe->one_group = one_group;
    return moe;
  };
  const auto rows = layer(false), all = layer(true);
  all->load_state_dict(rows->state_dict());
  const Tensor x = random_tensor({3, 7, 5}, 3, -3, 3), joined = reshape(x, {1, 21, 5});
  Context context{.mask = the_mask()};
  const Tensor y = rows->forward(x, context), z = all->forward(x, context);
  Context flat{.mask = reshape(the_mask(), {1, 21})};
  CHECK_LE(difference(reshape(z, {1, 21, 5}), rows->forward(joined, flat)), 0);
  CHECK_GT(difference(y, z), 0.01);
  for (const Tensor& out : {y, z})
    for_each_index(out.shape(), [&](const std::vector<i64>& i) {
      if (value_at(the_mask(), {i[0], i[1]}) == 0) CHECK_EQ(value_at(out, i), 0);
    });
}

TEST_CASE("ExpertChoiceRouter: bf16 models route as f32 ones; no tokens; what makes no sense is refused") {
  Setup narrow(16, {.experts = 4}), wide(16, {.experts = 4});
  narrow.router.to(DType::bf16);
  wide.router.load_state_dict({{"gate.weight", cast(narrow.router.gate.weight.detach(), DType::f64)}});
  const Tensor x = random_tensor({2, 50, 16}, 5, 0.9, 1, DType::bf16);
  Context context, other;
  const Routing p = narrow.router.route(x, {}, context), q = wide.router.route(cast(x, DType::f64), {}, other);
  CHECK(p.probabilities.dtype() == DType::f32);
  CHECK(p.combine.dtype() == DType::bf16);
  CHECK_LE(difference(p.probabilities, q.probabilities), 1e-6);
  for (const ChoiceGates kind : kAllGates)
    for (const Shape& shape : {Shape{2, 0, 16}, Shape{0, 2, 16}}) {
      const Setup s(16, {.experts = 4, .gates = kind});
      CHECK_EQ(s.router.route(zeros(shape, DType::f64), {}, other).dispatch.size(), 0);
    }

  const auto refused = [](const ExpertChoiceRouter::Options& o, const char* text) {
    Random random(1);
    Init init(random);
    CHECK_THROWS_WITH_AS(ExpertChoiceRouter(4, o, init), text, Error);
  };
  CHECK_THROWS_WITH_AS(narrow.router.route(zeros({3, 16}), {}, context),
                       "ExpertChoiceRouter: x must be [G, N, 16]; got [3, 16]", ShapeError);
  CHECK_THROWS_WITH_AS(narrow.router.route(zeros({2, 3, 16}), zeros({3}, DType::boolean), context),
                       "ExpertChoiceRouter: mask must be [G, N] = [2, 3]; got [3]", ShapeError);
  refused({.experts = 0}, "ExpertChoiceRouter: experts must be >= 1; got 0");
  refused({.capacity = {.factor = -1}}, "ExpertChoiceRouter: capacity.factor must be >= 0 and finite; got -1");
  refused({.noise = {.kind = RouterNoiseKind::simple}},
          "ExpertChoiceRouter: noise must not be simple; experts pick C tokens as they are");
  refused({.losses = {}}, "ExpertChoiceRouter: losses must not have load_balancing or load; experts have equal loads");
  refused({.gates = ChoiceGates::logits, .losses = {.load_balancing = false, .balance_entropy = true}},
          "ExpertChoiceRouter: the loss balance_entropy needs gates over experts");
}
