#include "nn/gradcheck.h"

#include <doctest/doctest.h>

#include "nn/context.h"
#include "nn/linear.h"
#include "nn/moe/moe.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// A mixture whose expert 2 wins no token: inputs are positive, and its row of the gate is negative.
struct Mixture {
  Random random{7};
  Init init{random, DType::f64};
  std::unique_ptr<MoE> moe = make_moe(3, {.experts = 3, .k = 1, .hidden = 2, .activation = Activation::silu}, init);
  Tensor x = random_tensor({2, 4, 3}, 11, 0.1, 1);
  Mixture() {
    no_grad guard;
    moe->load_state_dict([&] {
      StateDict s = moe->state_dict();
      for (NamedTensor& t : s)
        if (t.name == "router.gate.weight") t.tensor = tensor({{1, -1, 0.5}, {-0.5, 1, 0.2}, {-5, -5, -5}}, DType::f64);
      return s;
    }());
  }
  Tensor forward(const std::vector<Tensor>& in) const {
    Context context;
    return moe->forward(in[0], context);
  }
};

const InputReport& named(const GradReport& report, const std::string& name) {
  for (const InputReport& i : report.inputs)
    if (i.name == name) return i;
  FAIL("no input of that name");
  return report.inputs[0];
}

// Runs the experts on their slots, but the gradient of one expert's weight gets lost.
struct Lossy : Module {
  Tensor w = random_tensor({2, 3}, 1);
  Lossy() { w.requires_grad_(); }
  void members(Members& m) override { m.parameter("experts.w", w); }
};

}  // namespace

TEST_CASE("gradcheck of a module: every parameter by its name; an expert without tokens is told from a fault") {
  Mixture m;
  const GradReport report = gradcheck(*m.moe, [&](const auto& in) { return m.forward(in); }, {m.x}, {.order = 2});
  CHECK_MESSAGE(report.ok, report.table());
  REQUIRE(report.inputs.size() == 4);
  CHECK((report.inputs[0].name == "x0" && report.inputs[1].name == "router.gate.weight"));
  CHECK(named(report, "experts.{}.w1.weight").note ==
        "no gradient for 2, which choice 0 (top_k [1, 8, 1]) never takes");
  CHECK(named(report, "experts.{}.w2.weight").note ==
        "no gradient for 2, which choice 0 (top_k [1, 8, 1]) never takes");
  CHECK(named(report, "x0").note.empty());
  CHECK(m.moe->named_parameters().size() == 3);  // the module has its own tensors again
  CHECK(m.moe->named_parameters()[0].tensor->requires_grad());
}

TEST_CASE("gradcheck of a module: a gradient that is lost for an expert with tokens is wrong, not missing by right") {
  Lossy lossy;
  const Tensor x = random_tensor({3}, 2);
  const auto forward = [&](const std::vector<Tensor>& in) {
    const Tensor chosen =
        argmax(tensor({2, 1}, DType::f64), 0);  // expert 0 gets the token, and detach loses its gradient
    return sum(index_select(lossy.w.detach(), 0, chosen) * in[0]) + 0.0 * sum(lossy.w);
  };
  const GradReport report = gradcheck(lossy, forward, {x});
  CHECK_FALSE(report.ok);
  CHECK(report.text().starts_with("gradient of order 1, input 1 (experts.w), element "));
  CHECK(report.text().ends_with(
      "differences taken); no gradient, but the output changes with it: the gradient is lost on the way"));
  CHECK_FALSE(named(report, "experts.w").ok);
  CHECK(named(report, "x0").ok);
  CHECK(report.table().find("\n  experts.w [2, 3]: WRONG, worst element ") != std::string::npos);
}

TEST_CASE("gradcheck of a module: tied weights are one parameter; names of xs; parameters must be f64") {
  struct Tied : Module {
    Tensor a = random_tensor({2}, 1), b;
    Tied() { b = a.requires_grad_(); }
    void members(Members& m) override {
      m.parameter("a", a);
      m.parameter("b", b);
    }
  } tied;
  const auto forward = [&](const std::vector<Tensor>& in) { return tied.a * tied.b * in[0]; };
  const GradReport report = gradcheck(tied, forward, {random_tensor({2}, 3)}, {.names = {"tokens"}});
  CHECK_MESSAGE(report.ok, report.table());
  CHECK((report.inputs.size() == 2 && report.inputs[0].name == "tokens" && report.inputs[1].name == "a"));
  CHECK(tied.a.ref() == tied.b.ref());

  Random random(1);
  Init init(random);
  Linear narrow(2, 2, init);
  CHECK_THROWS_WITH_AS(gradcheck(narrow, [&](const auto& in) { return narrow.forward(in[0]); }, {zeros({1, 2})}),
                       "gradcheck: parameters must be f64 (module.to(DType::f64)); got f32 for 'weight'", DTypeError);
}
