#include "nn/moe/experts.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/moe/module_experts.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr i64 kWidth = 4, kExperts = 3;

// Slots of two groups with two slots per expert, and of a dropless routing whose middle expert has none and whose last
// slot is empty.
struct Slotted {
  Routing routing;
  Tensor slots;
};
Slotted even(u64 seed) {
  return {{.dispatch = zeros({2, 6, 5}, DType::f64), .experts = kExperts}, random_tensor({2, 6, kWidth}, seed)};
}
Slotted uneven(u64 seed) {
  return {{.dispatch = zeros({1, 8, 5}, DType::f64), .begin = tensor({0, 4, 4, 7}, DType::i64), .experts = kExperts},
          random_tensor({1, 8, kWidth}, seed)};
}

template <class Make> std::unique_ptr<ModuleExperts> one_by_one(Make make) {
  std::vector<std::unique_ptr<Layer>> list;
  for (i64 e = 0; e < kExperts; ++e) list.push_back(make());
  return std::make_unique<ModuleExperts>(std::move(list));
}

// Batched experts must be what the same experts are one by one, with the same names, values and gradients. Slots of no
// expert are left out: what they give is combined by nobody.
void check_against(Experts& batched, Experts& separate, const Slotted& s) {
  separate.load_state_dict(batched.state_dict());
  Context context;
  const Tensor x = s.slots.detach().requires_grad_();
  const i64 last = s.routing.begin ? 7 : 6;
  const auto loss = [&](Experts& experts) {
    const Tensor y = slice(experts.forward(x, s.routing, context), 1, {0, last});
    return sum(y * random_tensor(y.shape(), 9));
  };
  const Tensor a = loss(batched), b = loss(separate);
  CHECK_LE(std::abs(a.item() - b.item()), 1e-12);
  std::vector<Tensor> of_batched{x}, of_separate{x};
  for (const Tensor& p : batched.parameters()) of_batched.push_back(p);
  for (const Tensor& p : separate.parameters()) of_separate.push_back(p);
  const std::vector<Tensor> ga = grad(a, of_batched), gb = grad(b, of_separate);
  CHECK_LE(difference(ga[0], gb[0]), 1e-12);
  no_grad guard;
  const auto store = [](Experts& experts, const std::vector<Tensor>& grads) {
    const std::vector<Tensor> parameters = experts.parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].assign(grads[i + 1]);
  };
  store(batched, ga);
  store(separate, gb);
  const StateDict want = separate.state_dict(), got = batched.state_dict();
  REQUIRE_EQ(got.size(), want.size());
  for (const NamedTensor& g : got)
    for (const NamedTensor& w : want)
      if (g.name == w.name) {
        CAPTURE(g.name);
        CHECK_LE(difference(g.tensor, w.tensor), 1e-12);
      }
}

}  // namespace

TEST_CASE("experts: batched linear experts are Linear layers one by one, dropless or with a capacity") {
  Random random(1);
  Init init(random, DType::f64);
  for (const bool bias : {true, false})
    for (const Slotted& s : {even(3), uneven(4)}) {
      LinearExperts batched(kWidth, {.experts = kExperts, .out = 5, .bias = bias}, init);
      const auto separate =
          one_by_one([&] { return std::make_unique<AsLayer<Linear>>(kWidth, 5, init, Linear::Options{.bias = bias}); });
      check_against(batched, *separate, s);
    }
}

TEST_CASE("experts: batched feed-forward experts are FeedForward layers one by one, dropless or with a capacity") {
  Random random(2);
  Init init(random, DType::f64);
  for (const Activation a :
       {Activation::relu, Activation::gelu, Activation::swiglu, Activation::geglu, Activation::reglu})
    for (const bool bias : {true, false})
      for (const Slotted& s : {even(3), uneven(4)}) {
        FeedForwardExperts batched(
            kWidth, {.experts = kExperts, .hidden = 6, .activation = a, .bias = bias, .output_bias = bias}, init);
        const auto separate = one_by_one([&] {
          return std::make_unique<FeedForward>(kWidth, FeedForward::Options{.hidden = 6, .activation = a, .bias = bias},
                                               init);
        });
        check_against(batched, *separate, s);
      }
}

TEST_CASE("experts: a gate in half of w1 is the gate of w3, and a value's scale multiplies what it says") {
  Random random(3);
  Init init(random, DType::f64);
  using Gate = FeedForwardExperts::Gate;
  FeedForwardExperts whole(kWidth, {.experts = kExperts, .hidden = 3, .activation = Activation::swiglu}, init);
  const Tensor scale = random_tensor({kExperts, 3}, 5);
  for (const Gate gate : {Gate::first, Gate::second})
    for (const Slotted& s : {even(3), uneven(4)}) {
      FeedForwardExperts joined(
          kWidth,
          {.experts = kExperts, .hidden = 3, .activation = Activation::swiglu, .gate = gate, .value_scale = true},
          init);
      joined.w1 = gate == Gate::first ? concat({whole.w1, whole.w3}, -1) : concat({whole.w3, whole.w1}, -1);
      joined.w2 = whole.w2;
      joined.value_scale = scale;
      FeedForwardExperts scaled(kWidth, {.experts = kExperts, .hidden = 3, .activation = Activation::swiglu}, init);
      scaled.w1 = whole.w1;
      scaled.w3 = whole.w3;
      scaled.w2 = unsqueeze(scale, -1) * whole.w2;  // the same product
      Context context;
      CHECK_LE(difference(joined.forward(s.slots, s.routing, context), scaled.forward(s.slots, s.routing, context)),
               1e-12);
    }
  CHECK_THROWS_WITH_AS(FeedForwardExperts(4, {.gate = Gate::first}, init),
                       "FeedForwardExperts: a gate in half of w1 needs `gated` or a gated activation; got neither",
                       Error);
  CHECK_THROWS_WITH_AS(FeedForwardExperts(4, {.experts = 0}, init), "FeedForwardExperts: experts must be >= 1; got 0",
                       Error);
  CHECK_THROWS_WITH_AS(LinearExperts(4, {.experts = -1}, init), "LinearExperts: experts must be >= 1; got -1", Error);
}

TEST_CASE("experts: any activation of one tensor can be the function of a gate") {
  const std::pair<const char*, double (*)(double)> rows[] = {
      {"relu", [](double x) { return x > 0 ? x : 0; }},
      {"gelu", [](double x) { return x * (1 + std::erf(x / std::sqrt(2.0))) / 2; }},
      {"silu", [](double x) { return x / (1 + std::exp(-x)); }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"softplus", [](double x) { return std::log1p(std::exp(x)); }},
      {"elu", [](double x) { return x > 0 ? x : std::expm1(x); }},
      {"leaky_relu", [](double x) { return x > 0 ? x : 0.01 * x; }},
      {"mish", [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }}};
  using Gate = FeedForwardExperts::Gate;
  constexpr i64 F = 3;
  Random random(5);
  Init init(random, DType::f64);
  const Slotted s = even(3);
  for (const auto& [name, a] : rows)
    for (const Gate gate : {Gate::separate, Gate::first, Gate::second}) {
      CAPTURE(name);
      const FeedForwardExperts experts(
          kWidth,
          {.experts = kExperts, .hidden = F, .activation = activation_by_name(name), .gated = true, .gate = gate},
          init);
      const i64 gate_at = gate == Gate::second ? F : 0, value_at_column = gate == Gate::first ? F : 0;
      const Tensor& values = gate == Gate::separate ? experts.w3 : experts.w1;
      const Tensor want = zeros({2, 6, kWidth}, DType::f64);
      for (i64 g = 0; g < 2; ++g)
        for (i64 p = 0; p < 6; ++p)
          for (i64 f = 0; f < F; ++f) {
            double pre = 0, up = 0;
            for (i64 d = 0; d < kWidth; ++d) {
              pre += value_at(s.slots, {g, p, d}) * value_at(experts.w1, {p / 2, d, gate_at + f});
              up += value_at(s.slots, {g, p, d}) * value_at(values, {p / 2, d, value_at_column + f});
            }
            for (i64 d = 0; d < kWidth; ++d)
              set_value(want, {g, p, d}, value_at(want, {g, p, d}) + a(pre) * up * value_at(experts.w2, {p / 2, f, d}));
          }
      Context context;
      CHECK_LE(difference(experts.forward(s.slots, s.routing, context), want), 1e-13);
    }
}

TEST_CASE("experts: gradients by finite differences; an expert without slots gets zeros") {
  Random random(4);
  Init init(random, DType::f64);
  for (const Slotted& s : {even(3), uneven(4)}) {
    FeedForwardExperts experts(kWidth,
                               {.experts = kExperts,
                                .hidden = 2,
                                .activation = s.routing.begin ? Activation::geglu : Activation::tanh,
                                .gated = !s.routing.begin,
                                .bias = true,
                                .output_bias = true,
                                .gate = FeedForwardExperts::Gate::second,
                                .value_scale = true},
                               init);
    const GradReport report =
        gradcheck(experts,
                  [&](const std::vector<Tensor>& x) {
                    Context context;
                    return slice(experts.forward(x[0], s.routing, context), 1, {0, s.routing.begin ? 7 : 6});
                  },
                  {s.slots}, {.order = 2});
    CHECK_MESSAGE(report.ok, report.text());
    if (!s.routing.begin) continue;
    Context context;
    const Tensor w1 = experts.w1;
    const Tensor dw = grad(sum(experts.forward(s.slots, s.routing, context)), {w1})[0];
    CHECK_EQ(amax(abs(dw[1])).item(), 0);
    CHECK_GT(amax(abs(dw[2])).item(), 0);
  }
}
