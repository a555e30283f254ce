// The equivalence lattice: one layer, its dispatch done in five ways, gives one result and one gradient.
#include "examples/dispatches.h"

#include <doctest/doctest.h>

#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;
using namespace moegrad::examples;

namespace {

struct Outcome {
  Tensor y;
  std::vector<Tensor> grads;
  std::map<std::string, Tensor> losses;
};

// The whole objective of a training step: the task and both auxiliary losses.
Outcome run(Dispatch dispatch, MoE& moe, const Tensor& x_any, const Tensor& mask) {
  const Tensor x = x_any.detach().requires_grad_();
  Context context{.training = true, .mask = mask};
  Outcome o;
  o.y = dispatch(moe, x, context);
  o.losses = context.losses;
  Tensor loss = sum(o.y * random_tensor(o.y.shape(), 5));
  for (const auto& [name, value] : context.losses) loss = loss + value * 0.3;
  std::vector<Tensor> leaves{x};
  for (const Tensor& p : moe.parameters()) leaves.push_back(p);
  o.grads = grad(loss, leaves);
  return o;
}

void check_same(MoE& moe, const Tensor& x, const Tensor& mask) {
  const Outcome want = run(all_experts, moe, x, mask);
  REQUIRE_GT(amax(abs(want.y)).item(), 1e-3);
  for (const NamedDispatch& way : kDispatches) {
    CAPTURE(way.name);
    const Outcome got = run(way.run, moe, x, mask);
    CHECK_LE(difference(got.y, want.y), 1e-10);
    REQUIRE_EQ(got.grads.size(), want.grads.size());
    for (std::size_t i = 0; i < got.grads.size(); ++i) CHECK_LE(difference(got.grads[i], want.grads[i]), 1e-10);
    REQUIRE_EQ(got.losses.size(), want.losses.size());
    for (const auto& [name, value] : want.losses) CHECK_LE(difference(got.losses.at(name), value), 1e-12);
  }
}

}  // namespace

TEST_CASE("dispatches: five ways are one function with one gradient") {
  Random random(3);
  Init init(random, DType::f64);
  for (const i64 k : {1, 2, 3})
    for (const double capacity : {0.4, 1.0, 4.0})  // most dropped, some, none
      for (const bool gated : {false, true})
        for (const bool masked : {false, true}) {
          CAPTURE(k);
          CAPTURE(capacity);
          CAPTURE(gated);
          CAPTURE(masked);
          const std::unique_ptr<MoE> moe = make_moe(6,
                                                    {.experts = 5,
                                                     .k = k,
                                                     .capacity_factor = capacity,
                                                     .hidden = 7,
                                                     .activation = gated ? Activation::swiglu : Activation::gelu,
                                                     .bias = true,
                                                     .renormalize = k > 1},
                                                    init);
          const Tensor x = random_tensor({3, 11, 6}, 4, -2, 2);
          const Tensor mask = masked ? gt(random_tensor({3, 11}, 8), scalar(-0.4, DType::f64)) : Tensor{};
          check_same(*moe, x, mask);
        }
}

TEST_CASE("dispatches: an expert without tokens, and one token") {
  Random random(4);
  Init init(random, DType::f64);
  const std::unique_ptr<MoE> moe =
      make_moe(4, {.experts = 3, .k = 1, .capacity_factor = 3, .hidden = 5, .bias = true}, init);
  auto& gate = dynamic_cast<TopKRouter&>(*moe->router).gate;
  {
    no_grad guard;
    gate.weight.assign(tensor({{1, 1, 1, 1}, {-1, -1, -1, -1}, {0.5, 2, 1, 1}}, DType::f64));
  }
  const Tensor x = random_tensor({2, 6, 4}, 4, 0.1, 1);  // positive: nobody wants expert 1
  check_same(*moe, x, {});
  Context context;
  CHECK_EQ(moe->route(x, context).load.to_vector<i64>()[1], 0);
  check_same(*moe, random_tensor({1, 1, 4}, 9, 0.1, 1), {});
}
