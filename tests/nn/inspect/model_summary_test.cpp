#include "nn/inspect/model_summary.h"

#include <doctest/doctest.h>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

// Two layers, of which only the first enters the context.
struct Pair : Module {
  explicit Pair(Init& init)
      : feed_forward(4, {.hidden = 6, .activation = Activation::relu, .bias = false}, init),
        head(4, 2, init, {.bias = false}) {}
  Tensor forward(const Tensor& x, Context& context) const {
    const auto hidden = [&] {
      const Inside here(context, "feed_forward");
      return feed_forward.forward(x, context);
    };
    return head.forward(hidden());
  }
  void members(Members& m) override {
    m.child("feed_forward", feed_forward);
    m.child("head", head);
  }
  FeedForward feed_forward;
  Linear head;
};

}  // namespace

TEST_CASE("model summary: a linear layer, by hand") {
  Random random(1);
  Init init(random);
  Linear layer(3, 4, init);
  const Tensor x = random_normal({5, 3}, 0, 1, random.next());
  const ModelSummary s = model_summary(layer, [&](Context&) { return layer.forward(x); });
  REQUIRE(s.layers.size() == 1);
  const LayerCost& l = s.of("");
  CHECK(l.parameters == 3 * 4 + 4);
  CHECK(l.active == l.parameters);
  CHECK(l.flops == 2 * 5 * 3 * 4 + 5 * 4);
  CHECK(l.activation_bytes == 4 * 5 * 3);  // x, for the gradient of the weight
  CHECK_THROWS_WITH_AS(s.of("nothing"), "model summary: there must be such a layer; got 'nothing'", Error);
}

TEST_CASE("model summary: a feed-forward layer and a head, by hand; deeper layers count to those that hold them") {
  Random random(2);
  Init init(random);
  Pair pair(init);
  const Tensor x = random_normal({5, 4}, 0, 1, random.next());
  const auto run = [&](Context& context) { return pair.forward(x, context); };
  const ModelSummary deep = model_summary(pair, run);
  CHECK(deep.of("feed_forward.w1").flops == 2 * 5 * 4 * 6);
  CHECK(deep.of("feed_forward.w1").parameters == 24);
  CHECK(deep.of("feed_forward").flops == 5 * 6);  // relu
  CHECK(deep.of("feed_forward").parameters == 0);
  CHECK(deep.of("feed_forward").activation_bytes == 4 * 5 * 6);  // what relu gives, which its gradient reads
  CHECK(deep.of("feed_forward.w2").activation_bytes == 0);       // the same values
  CHECK(deep.of("head").flops == 2 * 5 * 4 * 2);
  const ModelSummary s = model_summary(pair, run, {.depth = 1});
  REQUIRE(s.layers.size() == 2);
  CHECK(s.of("feed_forward").parameters == 48);
  CHECK(s.of("feed_forward").flops == 2 * (2 * 5 * 4 * 6) + 5 * 6);
  CHECK(s.of("feed_forward").activation_bytes == 4 * (5 * 4 + 5 * 6));
  CHECK(s.of("head").activation_bytes == 4 * 5 * 4);
  CHECK(model_summary(pair, run, {.depth = 0}).layers.size() == 1);
  CHECK(model_summary(pair, run, {.depth = 0}).total().flops == s.total().flops);
  CHECK_THROWS_WITH_AS(model_summary(pair, run, {.depth = -1}), "model_summary: depth must be at least 0; got -1",
                       Error);
}

TEST_CASE("model summary: a top-2 mixture does the work of two experts per token") {
  Random random(3);
  Init init(random);
  const i64 N = 6, D = 8, F = 16, E = 4, K = 2;
  const auto moe = make_moe(D, {.experts = E, .k = K, .hidden = F}, init);
  const Tensor x = random_normal({1, N, D}, 0, 1, random.next());
  const ModelSummary s = model_summary(*moe, [&](Context& context) { return moe->forward(x, context); }, {.depth = 2});
  CHECK(s.of("router.gate").parameters == E * D);
  CHECK(s.of("router.gate").flops == 2 * N * D * E);
  const LayerCost& experts = s.of("experts");
  CHECK(experts.parameters == 2 * E * D * F);
  CHECK(experts.active == 2 * K * D * F);
  // two products, and the activation of every hidden value; slots are those of the tokens
  CHECK(experts.flops == 2 * (2 * N * K * D * F) + N * K * F);
  CHECK(s.total().parameters == moe->parameter_count());
  CHECK(s.total().active == moe->active_parameter_count());
}

TEST_CASE("model summary: of a language model: all parameters and all work are somewhere, recomputed values nowhere") {
  Random random(4);
  Init init(random);
  const auto make = [&](bool recompute) {
    return LanguageModel(
        {.vocabulary = 9, .context = 6, .width = 8, .layers = 2, .heads = 2, .recompute = recompute},
        [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .k = 2, .hidden = 4}, i); }, init);
  };
  LanguageModel model = make(false), thrifty = make(true);
  const Tensor tokens = random_integers({2, 6}, 0, 9, random.next());
  const auto summary = [&](LanguageModel& m, int depth) {
    return model_summary(m, [&](Context& context) { return m.forward(tokens, context); }, {.depth = depth});
  };
  const ModelSummary s = summary(model, 3);
  CHECK(s.total().parameters == model.parameter_count());
  CHECK(s.total().active == model.active_parameter_count());
  CostLedger ledger;
  {
    Context context;
    model.forward(tokens, context);
  }
  CHECK(s.total().flops == doctest::Approx(ledger.total().flops));
  CHECK(s.total().calls == ledger.total().calls);
  CHECK(s.of("head").flops == 2 * 12 * 8 * 9 + 12 * 9);
  CHECK(s.of("blocks.1.feed_forward").parameters == 3 * 8 + 2 * 3 * 8 * 4);
  CHECK(s.of("blocks.0.attention").flops == s.of("blocks.1.attention").flops);
  CHECK(summary(thrifty, 3).total().activation_bytes < s.total().activation_bytes / 2);
  CHECK(summary(thrifty, 3).total().flops == doctest::Approx(s.total().flops));
  const i64 untied = model.parameter_count();
  model.head.weight = model.token_embedding.weight;  // the same tensor: it counts once
  CHECK(summary(model, 99).total().parameters == model.parameter_count());
  CHECK(model.parameter_count() == untied - 9 * 8);
}

TEST_CASE("model summary: text and table") {
  Random random(5);
  Init init(random);
  Linear layer(1000, 500, init, {.bias = false});
  const Tensor x = zeros({10, 1000});
  const ModelSummary s = model_summary(layer, [&](Context&) { return layer.forward(x); });
  CHECK(s.text() ==
        "layer  parameters  active per token  MFLOP forward  MB kept for backward\n"
        "model     500,000           500,000         10.000                 0.040\n"
        "all       500,000           500,000         10.000                 0.040\n");
  CHECK(s.table().rows.size() == 2);
  CHECK(s.table().header.size() == 5);
}
