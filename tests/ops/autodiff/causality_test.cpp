#include "ops/autodiff/causality.h"

#include <doctest/doctest.h>

#include "nn/language_model.h"
#include "nn/moe/moe.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// One sequence of 7 positions: a size that no other axis has.
const i64 S = 7, D = 4;
Tensor sequence(u64 seed = 1) { return random_tensor({1, S, D}, seed, -2, 2); }

// The verdict in two words: "safe", or the name of the op that is blamed.
std::string verdict(const FunctionOfOne& fn, const Tensor& x = sequence(), int axis = 1) {
  const CausalityReport r = causality_check(fn, x, axis);
  if (r.ok) return "safe";
  return (r.jacobian ? "jacobian: " : "") + r.op.substr(0, r.op.find('('));
}

Tensor scores_of(const Tensor& x) { return matmul(x, transpose(x)) * 0.3; }  // [1, S, S]

struct Mixture {
  Random random{7};
  Init init{random, DType::f64};
  std::unique_ptr<MoE> moe;
  Mixture(i64 k, double capacity_factor)
      : moe(make_moe(D, {.experts = 3, .k = k, .capacity_factor = capacity_factor, .hidden = 5}, init)) {}
  FunctionOfOne forward() const {
    return [this](const Tensor& x) {
      Context context;
      Inside here(context, "moe");
      return moe->forward(x, context);
    };
  }
};

// Expert choice: each of 3 experts takes the 2 positions that score highest for it.
Tensor expert_choice(const Tensor& x) {
  const Tensor gate = random_tensor({D, 3}, 5), w = random_tensor({3, D, D}, 6);
  const Tensor scores = softmax(einsum("gnd,de->gne", x, gate), -1);
  const Tensor tokens = permute(top_k(scores, 2, 1).indices, {0, 2, 1});
  const Tensor dispatch = one_hot(tokens, S);
  const Tensor out = einsum("gecd,edf->gecf", einsum("gecn,gnd->gecd", dispatch, x), w);
  return einsum("gne,gecn,gecf->gnf", scores, dispatch, out);
}

}  // namespace

TEST_CASE("causality: the table of verdicts, ops") {
  CHECK(verdict([](const Tensor& x) { return exp(x) * 2.0; }) == "safe");
  CHECK(verdict([](const Tensor& x) { return cumsum(x, 1); }) == "safe");
  CHECK(verdict([](const Tensor& x) { return cumsum(x, 1, {.reverse = true}); }) == "cumsum");
  CHECK(verdict([](const Tensor& x) { return softmax(x, -1); }) == "safe");
  CHECK(verdict([](const Tensor& x) { return softmax(x, 1); }) == "softmax");
  CHECK(verdict([](const Tensor& x) { return sin(x) - mean(x, 1, keep_dims); }) == "sum");  // a mean is made of it
  CHECK(verdict([](const Tensor& x) { return roll(x, 1, 1); }) == "slice");                 // roll is made of slices
  CHECK(verdict([](const Tensor& x) { return sort(x, 1).values; }) == "sort");
  CHECK(verdict([](const Tensor& x) { return transpose(cumsum(transpose(x), 2)); }) == "safe");
}

TEST_CASE("causality: the table of verdicts, attention") {
  const auto by_hand = [](bool causal) {
    return [causal](const Tensor& x) {
      const Tensor s = scores_of(x);
      const Tensor later = logical_not(cast(tril(ones({S, S})), DType::boolean));
      return matmul(softmax(causal ? masked_fill(s, later, -1e9) : s, -1), x);
    };
  };
  CHECK(verdict(by_hand(true)) == "safe");
  CHECK(verdict(by_hand(false)) == "softmax");  // the scores [S, S] are no leak yet: the mask would come after them
  CHECK(verdict([](const Tensor& x) { return attention(x, x, x, {.causal = true}); }) == "safe");
  CHECK(verdict([](const Tensor& x) { return attention(x, x, x, {}); }) == "attention");
}

TEST_CASE("causality: the table of verdicts, mixtures of experts") {
  CHECK(verdict(Mixture(2, 0).forward()) == "safe");    // dropless top-k
  CHECK(verdict(Mixture(1, 0.6).forward()) == "safe");  // first come, first served
  CHECK(verdict(Mixture(2, 0.5).forward()) != "safe");  // all first choices come before any second choice
  CHECK(verdict(expert_choice) == "top_k");
  // a choice among later positions alone takes nothing from the earlier ones; the sum that reads it does
  const auto late = [](const Tensor& x) {
    const Tensor chosen = top_k(slice(x, 1, {3, kEnd}) * 1.0, 1, 1).indices;
    return x + 0.1 * cumsum(x, 1, {.reverse = true}) + 0.0 * sum(cast(chosen, DType::f64));
  };
  CHECK(verdict(late) == "cumsum");
  const auto masked = [](const Tensor& x) {
    const Tensor early = lt(reshape(arange(0, S), {1, S, 1}), scalar(3, DType::i64));
    const Tensor chosen = top_k(masked_fill(x, early, -1e9), 1, 1).indices;
    return cumsum(x, 1, {.reverse = true}) + 0.0 * cast(sum(chosen), DType::f64);
  };
  CHECK(verdict(masked) == "cumsum");
}

TEST_CASE("causality: a language model on tokens") {
  Random random(1);
  Init init(random, DType::f64);
  const auto make = [](i64, double gain, Init& i) -> std::unique_ptr<Layer> {
    return make_moe(8, {.experts = 3, .k = 2, .hidden = 6, .output_gain = gain}, i);
  };
  LanguageModel model({.vocabulary = 11, .context = 9, .width = 8, .layers = 2, .heads = 2}, make, init);
  const Tensor tokens = tensor({{3, 1, 4, 1, 5, 9, 2}}, DType::i64);
  const auto forward = [&](const Tensor& t) {
    Context context;
    return model.forward(t, context);
  };
  CHECK_CAUSAL(forward, tokens, 1);
  model.blocks[1]->attention.options.causal = false;
  const CausalityReport report = causality_check(forward, tokens, 1);
  CHECK_FALSE(report.ok);
  CHECK(report.op.starts_with("attention("));
  CHECK(report.layer == "blocks.1.attention");
}

TEST_CASE("causality: the report says where, by how much, and which op with its operands, attributes and layer") {
  Context context;
  const auto fn = [&](const Tensor& x) {
    Inside block(context, "blocks", 0);
    return where(eq(reshape(arange(0, S), {1, S, 1}), scalar(2, DType::i64)), cumsum(x, 1, {.reverse = true}), x);
  };
  const Tensor x = zeros({1, S, D}, DType::f64);
  const CausalityReport report = causality_check(fn, x, 1);
  CHECK((!report.ok && report.cut == 3 && report.position == 2 && !report.jacobian));
  const std::string text = report.text();
  CHECK(text.starts_with(
      "causality: y before position 3 must not see x from there on; its value at position 2 moves by "));
  CHECK(
      text.ends_with("; the first op that leaks is cumsum(f64 [1, 7, 4]; axis = 1, reverse = true, exclusive = false), "
                     "in layer 'blocks.0'"));
  const CausalityReport fine = causality_check([](const Tensor& a) { return a * 2.0; }, x, 1);
  CHECK(fine.text() == "causality: no position of y sees a later one of x (18 runs compared)");
}

TEST_CASE("causality: values that agree and a gradient that does not") {
  // the value of x, the gradient of a sum over all positions: a straight-through estimator gone wrong
  const auto straight = [](const Tensor& x) {
    const Tensor all = x * 0.0 + mean(x, 1, keep_dims);
    return x.detach() + all - all.detach();
  };
  const CausalityReport report = causality_check(straight, sequence(), 1);
  CHECK((!report.ok && report.jacobian && report.cut == 1 && report.position == 1));
  CHECK(report.text().starts_with(
      "causality: y before position 1 must not see x from there on; its gradient reaches x at position 1 by "));
  CHECK(report.op.starts_with("the gradient of sum("));
  // a gradient that reads the future, though it goes to the past alone
  const auto scaled = [](const Tensor& x) {
    const Tensor factor = sum(abs(x.detach()), 1, keep_dims);
    return record("planted", x.detach() * 1.0, {x, factor}, saves(kX1), [](const GradArgs& g) -> Grads {
      return {g.dy * g.in(1), {}};
    });
  };
  const CausalityReport moved = causality_check(scaled, sequence(), 1);
  CHECK((!moved.ok && moved.jacobian && moved.cut == 1 && moved.position == 0));
  CHECK(moved.op == "the gradient of planted(f64 [1, 7, 4], f64 [1, 1, 4])");
}

TEST_CASE("causality: f32, bf16, two positions, an axis from the end, and all cuts or some") {
  CHECK(verdict([](const Tensor& x) { return cumsum(x, 0); }, random_tensor({5, 2}, 1, -1, 1, DType::f32), 0) ==
        "safe");
  CHECK(verdict([](const Tensor& x) { return softmax(x, 0); }, random_tensor({5, 2}, 1, -1, 1, DType::f32), -2) ==
        "softmax");
  CHECK(verdict([](const Tensor& x) { return cumsum(x, 0); }, ones({5, 2}, DType::bf16), 0) == "safe");
  CHECK(verdict([](const Tensor& x) { return softmax(x, 0); }, ones({5, 2}, DType::bf16), 0) == "softmax");
  CHECK(verdict([](const Tensor& x) { return softmax(x, 0); }, ones({2, 3}, DType::f64), 0) == "softmax");
  CHECK(verdict([](const Tensor& x) { return exp(x); }, zeros({2, 3}, DType::f64), 0) == "safe");
  const CausalityReport some =
      causality_check([](const Tensor& x) { return cumsum(x, 0); }, random_tensor({50}, 1), 0, {.most = 4, .draws = 1});
  CHECK((some.ok && some.checked == 4));
}

TEST_CASE("causality: an op that leaks through the host is found, though not named") {
  const auto host = [](const Tensor& x) {
    return from_vector(std::vector<double>(S, x.to_vector<double>().back()), {S});
  };
  const CausalityReport report = causality_check(host, random_tensor({S}, 1), 0);
  CHECK_FALSE(report.ok);
  CHECK(report.text().ends_with("; no op shows where"));
}

TEST_CASE("causality: error texts") {
  const auto same = [](const Tensor& x) { return x; };
  const Tensor x = sequence();
  CHECK_THROWS_WITH_AS(causality_check(same, x, 3), "causality_check: axis must be in [-3, 3); got 3 for x [1, 7, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(causality_check([](const Tensor& a) { return sum(a, 1); }, x, 1),
                       "causality_check: y must have 7 positions along axis 1, as x; got y [1, 4] and x [1, 7, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(causality_check(same, zeros({2}, DType::boolean), 0),
                       "causality_check: x must be floating or integer; got bool", DTypeError);
  CHECK_THROWS_WITH_AS(causality_check(same, ones({1, 2}), 0),
                       "causality_check: there must be two positions along axis 0, a cut and a draw at least; got x "
                       "[1, 2], most = 12, draws = 3",
                       Error);
  CHECK_THROWS_WITH_AS(causality_check(same, ones({4}), 0, {.draws = 0}),
                       "causality_check: there must be two positions along axis 0, a cut and a draw at least; got x "
                       "[4], most = 12, draws = 0",
                       Error);
  CHECK_THROWS_WITH_AS(causality_check(same, tensor({1, NAN}), 0),
                       "causality_check: x must be finite; got a value that is not", Error);
  CHECK_THROWS_WITH_AS(causality_check(same, full({3}, 5, DType::i64), 0),
                       "causality_check: x must hold two different integers at least; got 5 alone", Error);
  int calls = 0;
  CHECK_THROWS_WITH_AS(causality_check([&](const Tensor& a) { return a + static_cast<double>(++calls); }, x, 1),
                       "causality_check: fn must give the same for the same x; got two values (is there dropout?)",
                       Error);
}

TEST_CASE("causality: a NaN that is always there is no dropout") {
  const auto fn = [](const Tensor& x) { return log(x - 100.0); };
  CHECK(verdict(fn) == "safe");
}
