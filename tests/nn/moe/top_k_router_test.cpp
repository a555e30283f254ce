#include "nn/moe/top_k_router.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/moe/expert_choice_router.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Rule = Capacity::Rule;
std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  TopKRouter router;
  Setup(i64 width, const TopKRouter::Options& o) : router(width, o, init) {}
};

// The weight with which expert e adds to token n, [G, N, E], by the definition in loops.
Tensor naive_weights(const TopKRouter& router, const Tensor& x, const Tensor& mask) {
  const TopKRouter::Options& o = router.options;
  const i64 G = x.dim(0), N = x.dim(1), D = x.dim(2), E = o.experts;
  const i64 C = router.dropless() ? N : o.capacity.of(N, o.k, E);
  Tensor y = zeros({G, N, E}, DType::f64);
  for (i64 g = 0; g < G; ++g) {
    std::vector<std::vector<double>> p(at(N), std::vector<double>(at(E)));
    std::vector<std::vector<i64>> best(at(N), std::vector<i64>(at(E)));
    for (i64 n = 0; n < N; ++n) {
      double total = 0;
      for (i64 e = 0; e < E; ++e) {
        double logit = 0;
        for (i64 d = 0; d < D; ++d) logit += value_at(x, {g, n, d}) * value_at(router.gate.weight, {e, d});
        total += p[at(n)][at(e)] = std::exp(logit);
      }
      for (double& v : p[at(n)]) v /= total;
      std::iota(best[at(n)].begin(), best[at(n)].end(), 0);
      std::stable_sort(best[at(n)].begin(), best[at(n)].end(),
                       [&](i64 a, i64 b) { return p[at(n)][at(a)] > p[at(n)][at(b)]; });
    }
    std::vector<i64> order(at(N));
    std::iota(order.begin(), order.end(), 0);
    if (o.priority == Priority::best_gate)
      std::stable_sort(order.begin(), order.end(),
                       [&](i64 a, i64 b) { return p[at(a)][at(best[at(a)][0])] > p[at(b)][at(best[at(b)][0])]; });
    std::vector<i64> used(at(E), 0);
    for (i64 k = 0; k < o.k; ++k)
      for (const i64 n : order) {
        if (mask && value_at(mask, {g, n}) == 0) continue;
        const i64 e = best[at(n)][at(k)];
        if (used[at(e)] >= C) continue;
        ++used[at(e)];
        double sum_of_gates = 0;
        for (i64 j = 0; j < o.k; ++j) sum_of_gates += p[at(n)][at(best[at(n)][at(j)])];
        set_value(y, {g, n, e}, p[at(n)][at(e)] / (o.renormalize ? sum_of_gates : 1));
      }
  }
  return y;
}

// The same of a routing: combine [G, P, N], its slots added up by expert.
Tensor weights_of(const Routing& r, i64 groups, i64 tokens) {
  const Tensor combine = dense(r.combine);
  if (!r.dropless())
    return swap_axes(sum(reshape(combine, {groups, r.experts, r.slots_per_expert(), tokens}), 2), 1, 2);
  const std::vector<i64> begin = r.begin.to_vector<i64>();
  std::vector<Tensor> parts;
  for (i64 e = 0; e < r.experts; ++e) parts.push_back(sum(slice(combine, 1, {begin[at(e)], begin[at(e + 1)]}), 1));
  return reshape(stack(parts, -1), {groups, tokens, r.experts});
}

const Tensor& the_mask() {
  static const Tensor made =
      tensor({{1, 1, 0, 1, 1, 0, 1}, {0, 0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1, 1}}, DType::boolean);
  return made;
}

}  // namespace

TEST_CASE(
    "TopKRouter: every k, rule, priority and normalisation equals the definition in loops, with and without mask") {
  const Tensor x = random_tensor({3, 7, 5}, 3, -3, 3);
  for (const Capacity& capacity :
       {Capacity{}, Capacity{.factor = 0.6}, Capacity{.factor = 1}, Capacity{.factor = 1.2, .rule = Rule::tokens},
        Capacity{.factor = 0.1, .least = 2}, Capacity{.slots = 3}})
    for (const Priority priority : {Priority::first_come, Priority::best_gate})
      for (const bool renormalize : {true, false})
        for (const i64 k : {1, 2, 4}) {
          CAPTURE(capacity.factor);
          CAPTURE(k);
          const Setup s(5,
                        {.experts = 4, .k = k, .capacity = capacity, .priority = priority, .renormalize = renormalize});
          for (const Tensor& mask : {Tensor{}, the_mask()}) {
            Context context;
            const Routing r = s.router.route(x, mask, context);
            const Tensor want = naive_weights(s.router, x, mask);  // [3, 7, E]
            CHECK_LE(difference(weights_of(r, 3, 7), want), 1e-13);
            const Tensor taken = gt(want, scalar(0, DType::f64));
            CHECK_EQ(difference(r.load, sum(taken, {0, 1})), 0);
            const Tensor wanted = mask ? cast(mask, DType::i64) * k : full({3, 7}, static_cast<double>(k), DType::i64);
            CHECK_EQ(difference(reshape(r.dropped, {3, 7}), wanted - sum(taken, -1)), 0);
          }
        }
}

TEST_CASE("TopKRouter: random priority serves tokens in the order that was drawn") {
  const Setup s(5, {.experts = 4, .k = 2, .capacity = {.factor = 0.5}, .priority = Priority::random});
  const Tensor x = random_tensor({1, 7, 5}, 3, -3, 3);
  const Tensor order = tensor({3, 6, 0, 5, 1, 2, 4}, DType::i64), place = argsort(order);
  Context shuffled{.training = true}, plain;
  shuffled.replayed = {{unsqueeze(cast(place, DType::f64), 0)}};
  const Routing r = s.router.route(x, {}, shuffled);
  // The same tokens, shuffled beforehand and served in their order.
  const Routing q = s.router.route(index_select(x, 1, order), {}, plain);
  CHECK_LE(difference(weights_of(r, 1, 7), index_select(weights_of(q, 1, 7), 1, place)), 0);
  CHECK_GT(difference(weights_of(r, 1, 7), naive_weights(s.router, x, {})), 0.01);
}

TEST_CASE("TopKRouter: masked tokens change neither routes nor losses, whatever they hold") {
  const Tensor x = random_tensor({3, 7, 5}, 3, -3, 3);
  const RouterLosses all{.importance = true, .balance_entropy = true, .token_entropy = true};
  for (const Capacity& capacity : {Capacity{}, Capacity{.slots = 3}}) {
    const Setup s(5, {.experts = 4, .capacity = capacity, .losses = all});
    const Tensor other = where(unsqueeze(the_mask(), -1), x, random_tensor({3, 7, 5}, 4, -3, 3));
    Context a, b;
    const Routing r = s.router.route(x, the_mask(), a), q = s.router.route(other, the_mask(), b);
    CHECK_EQ(difference(dense(r.combine), dense(q.combine)), 0);
    CHECK_EQ(a.losses.size(), 5);
    for (const auto& [name, loss] : a.losses) CHECK_EQ(loss.item(), b.losses.at(name).item());
    Context c;
    s.router.route(x, zeros({3, 7}, DType::boolean), c);
    for (const auto& [name, loss] : c.losses) CHECK_EQ(loss.item(), 0);
    CHECK_EQ(sum(c.records.front().tensor).item(), 0);
  }
}

TEST_CASE("TopKRouter: ties go to the lower expert, and dropless choices are all kept") {
  Setup s(2, {.experts = 4, .k = 2});
  s.router.load_state_dict({{"gate.weight", zeros({4, 2}, DType::f64)}});
  Context context;
  const Routing r = s.router.route(ones({1, 3, 2}, DType::f64), {}, context);
  CHECK(r.chosen.to_vector<i64>() == std::vector<i64>{0, 1, 0, 1, 0, 1});
  CHECK(r.load.to_vector<i64>() == std::vector<i64>{3, 3, 0, 0});
  CHECK_EQ(sum(r.dropped).item(), 0);
}

TEST_CASE("TopKRouter: gradients through gates and losses, with a mask, an expert without tokens and drops") {
  for (const Capacity& capacity : {Capacity{}, Capacity{.factor = 0.7}})
    for (const Priority priority : {Priority::first_come, Priority::best_gate}) {
      Setup s(5, {.experts = 5,
                  .capacity = capacity,
                  .priority = priority,
                  .losses = {.importance = true, .balance_entropy = true, .token_entropy = true},
                  .gate = {.bias = true}});
      const Tensor x = random_tensor({3, 7, 5}, 3, 0.1, 1), values = random_tensor({3, 7, 5}, 4);
      {
        no_grad guard;
        set_value(s.router.gate.bias, {4}, -9);  // expert 4 never wins
      }
      Tensor load;
      const Function f = [&](const std::vector<Tensor>& in) {
        Context context;
        const Routing r = s.router.route(in[0], the_mask(), context);
        load = r.load;
        const Tensor v = r.dropless() ? reshape(values, {1, 21, 5}) : values;
        Tensor total = sum(square(einsum("gpn,gnd->gpd", r.combine, v)));
        for (const auto& [name, loss] : context.losses) total = total + loss;
        return total;
      };
      const GradReport report = gradcheck(s.router, f, {x}, {.order = 2, .most = 30});
      CHECK_MESSAGE(report.ok, report.text());
      CHECK_EQ(load.to_vector<i64>()[4], 0);
      CHECK_GT(sum(load).item(), 8);
    }
}

TEST_CASE("TopKRouter: noise and its load loss; without noise that loss is 0") {
  const RouterLosses losses{.load_balancing = false, .router_z = false, .load = true};
  Setup s(5, {.experts = 4, .noise = {.kind = RouterNoiseKind::gaussian}, .losses = losses});
  const Tensor x = random_tensor({2, 7, 5}, 3);
  Context evaluation, training{.training = true};
  s.router.route(x, {}, evaluation);
  CHECK_EQ(evaluation.losses.at("load").item(), 0);
  // The clean scores plus the noise are the scores of a router whose bias is that noise.
  const Tensor z = tensor({{{9, 0, 0, 0}}}, DType::f64);
  training.replayed = {{expand(z, {1, 14, 4})}};
  const Routing r = s.router.route(x, {}, training);
  CHECK_GT(training.losses.at("load").item(), 0);
  CHECK_EQ(training.losses.size(), 1);
  CHECK_EQ(r.load.to_vector<i64>()[0], 14);
  CHECK_LE(difference(r.probabilities, softmax(r.logits + 9 * (std::log(2.0) + 0.01) / 9 * z, -1)), 1e-14);
}

TEST_CASE("TopKRouter: a subset of K experts is K times a distribution; losses are of that distribution") {
  const RouterLosses losses{.balance_entropy = true};
  Setup s(5, {.experts = 4, .k = 3, .noise = {.kind = RouterNoiseKind::simple}, .losses = losses});
  s.router.load_state_dict({{"gate.weight", zeros({4, 5}, DType::f64)}});
  Random random(3);
  Context context{.training = true, .random = &random};
  const Routing r = s.router.route(random_tensor({1, 4000, 5}, 3), {}, context);
  CHECK_LE(difference(sum(r.probabilities, -1), ones({1, 4000}, DType::f64)), 1e-14);
  CHECK_LE(std::abs(context.losses.at("load_balancing").item() - 1), 1e-2);  // all are used alike, but for the draw
  CHECK_LE(std::abs(context.losses.at("balance_entropy").item()), 1e-2);
  CHECK_GE(context.losses.at("balance_entropy").item(), 0);
}

TEST_CASE("TopKRouter: gaussian noise whose deviation is 0 has a finite load and gradients") {
  const RouterLosses losses{.load = true};
  for (const double raw : {-2000.0, -80.0, 0.0}) {
    Setup s(5, {.experts = 4,
                .noise = {.kind = RouterNoiseKind::gaussian, .scale = raw < 0 ? 1.0 : 0.0, .floor = 0},
                .losses = losses});
    s.router.load_state_dict({{"gate.weight", s.router.gate.weight}, {"noise.weight", full({5, 4}, raw, DType::f64)}});
    for (const DType dtype : {DType::f64, DType::f32}) {
      s.router.to(dtype);
      Random random(3);
      Context context{.training = true, .random = &random};
      const Tensor x = random_tensor({1, 6, 5}, 3, 0.5, 1, dtype).requires_grad_();
      s.router.route(x, {}, context);
      Tensor weight = s.router.gate.weight, noise = s.router.noise.weight;
      for (const Tensor& g : grad(context.losses.at("load"), {x, weight, noise})) CHECK(all(isfinite(g)).item() == 1);
    }
  }
}

TEST_CASE("TopKRouter: jitter multiplies what the router sees, not what experts get") {
  const Setup s(5, {.experts = 4, .noise = {.kind = RouterNoiseKind::jitter, .amount = 0.5}});
  const Tensor x = random_tensor({1, 7, 5}, 3), u = random_tensor({1, 7, 5}, 5, 0, 1);
  Context training{.training = true}, plain;
  training.replayed = {{u}};
  const Routing r = s.router.route(x, {}, training), q = s.router.route(x * (u + 0.5), {}, plain);
  CHECK_EQ(difference(r.logits, q.logits), 0);
}

TEST_CASE("TopKRouter: the gate's weight by rows or by columns, with a bias, under any name") {
  Setup rows(3, {.experts = 4, .gate = {.bias = true}});
  Setup columns(3, {.experts = 4, .gate = {.bias = true, .columns = true, .weight = "w_gate", .bias_name = "b"}});
  StateDict state = rows.router.state_dict();
  REQUIRE_EQ(state.size(), 2);
  CHECK_EQ(state[0].name, "gate.weight");
  columns.router.load_state_dict({{"w_gate", transpose(state[0].tensor)}, {"b", state[1].tensor}});
  const Tensor x = random_tensor({1, 6, 3}, 3);
  Context context;
  CHECK_LE(difference(rows.router.route(x, {}, context).logits, columns.router.route(x, {}, context).logits), 1e-15);
}

TEST_CASE("TopKRouter: no tokens, no groups, one expert; what makes no sense is refused") {
  Context context;
  for (const Capacity& capacity : {Capacity{}, Capacity{.factor = 1}}) {
    const Setup s(3, {.experts = 2, .capacity = capacity});
    CHECK_EQ(s.router.route(zeros({2, 0, 3}, DType::f64), {}, context).dispatch.dim(1), 0);
    CHECK(s.router.route(zeros({0, 2, 3}, DType::f64), {}, context).load.to_vector<i64>() == std::vector<i64>{0, 0});
    const Setup one(3, {.experts = 1, .k = 1, .capacity = capacity});
    CHECK_EQ(one.router.route(ones({1, 1, 3}, DType::f64), {}, context).load.item(), 1);
  }
  Random random(1);
  Init init(random);
  CHECK_THROWS_WITH_AS(TopKRouter(4, {.experts = 2, .k = 3}, init),
                       "TopKRouter: k must be in [1, experts]; got k = 3, experts = 2", Error);
  const TopKRouter router(4, {}, init);
  CHECK_THROWS_WITH_AS(router.route(zeros({3, 4}), {}, context), "TopKRouter: x must be [G, N, 4]; got [3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 3, 4}), zeros({2, 4}, DType::boolean), context),
                       "TopKRouter: mask must be [G, N] = [2, 3]; got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 3, 4}), zeros({2, 3}), context),
                       "TopKRouter: x must be bool (mask); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(TopKRouter(4, {.capacity = {.factor = -1}}, init),
                       "TopKRouter: capacity.factor must be >= 0 and finite; got -1", Error);
}

TEST_CASE("TopKRouter, ExpertChoiceRouter: nothing of size tokens x slots is allocated, whatever is asked of them") {
  Random random(7);
  Init init(random, DType::f64);
  const RouterLosses losses{.importance = true, .token_entropy = true};
  std::unique_ptr<Router> routers[3];
  for (int i : {0, 1})
    routers[i] = std::make_unique<TopKRouter>(
        4,
        TopKRouter::Options{
            .experts = 8, .capacity = {.factor = i * 1.0}, .priority = Priority::best_gate, .losses = losses},
        init);
  ExpertChoiceRouter::Options choice{.experts = 8, .in_order = true, .losses = losses};
  choice.losses.load_balancing = false;
  routers[2] = std::make_unique<ExpertChoiceRouter>(4, choice, init);
  Tensor x = random_tensor({2, 300, 4}, 5);
  x.requires_grad_();
  const Tensor mask = gt(select(random_tensor({2, 300, 1}, 6), 2, 0), scalar(-0.5, DType::f64));
  for (const auto& router : routers) {
    memory::AllocationLog log;
    Context context;
    const Routing r = router->route(x, mask, context);
    const Tensor rows = r.dropless() ? reshape(x, {1, 600, 4}) : x;
    Tensor total = sum(square(einsum("gpn,gpd->gnd", r.combine, einsum("gpn,gnd->gpd", r.dispatch, rows))));
    for (const auto& [name, loss] : context.losses) total = total + loss;
    grad(total, {x});
    CHECK_LE(log.largest(), 600 * 8 + 1);  // logits [2, 300, 8]; dispatch would have 1200 * 300
  }
}
