#include "nn/language_model.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "nn/feed_forward.h"
#include "nn/optim.h"
#include "ops/cast.h"
#include "ops/cross_entropy.h"
#include "ops/slice.h"
#include "tests/support/check_module.h"
#include "tests/support/device.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// [4, 9]: every row counts up to 4 and begins again.
Tensor counting_tokens(int step) {
  std::vector<i64> v;
  for (i64 i = 0; i < 36; ++i) v.push_back((i % 9 + i / 9 + step) % 5);
  return from_vector(v, {4, 9});
}

LanguageModel make(LanguageModel::Options options, Init& init, i64 hidden) {
  return LanguageModel(
      options,
      [&](i64, double gain, Init& in) {
        return std::make_unique<FeedForward>(
            options.width, FeedForward::Options{.hidden = hidden, .dropout = options.dropout, .output_gain = gain}, in);
      },
      init);
}
constexpr LanguageModel::Options kTiny{.vocabulary = 5, .context = 4, .width = 4, .layers = 2, .heads = 2};

}  // namespace

TEST_CASE("language model: parameters by hand, names, logits' shape, causality") {
  Random random(1);
  Init init(random, DType::f64);
  LanguageModel model = make(kTiny, init, 8);
  const i64 block = 8 + (4 * 16 + 4) + 8 + (4 * 8 + 8 + 8 * 4 + 4);
  CHECK(model.parameter_count() == 5 * 4 + 4 * 4 + 2 * block + 8 + (4 * 5 + 5));
  CHECK(model.state_dict()[2].name == "blocks.0.norm1.weight");
  Context context;
  const Tensor a = model.forward(tensor({{0, 1, 2}, {3, 4, 0}}, DType::i64), context);
  CHECK(a.shape() == Shape{2, 3, 5});
  const Tensor b = model.forward(tensor({{0, 1, 4}}, DType::i64), context);
  CHECK(difference(a[0][1], b[0][1]) == 0);
  CHECK(difference(a[0][2], b[0][2]) > 0);
  CHECK_THROWS_WITH_AS(model.forward(zeros({1, 5}, DType::i64), context),
                       "language model: tokens must be [B, S] with S <= 4; got tokens [1, 5]", ShapeError);
  CHECK_THROWS_WITH_AS((model.forward(tensor({{5}}, DType::i64), context), settle()),
                       bad_value("embedding: values must be in [-1, 5); got 5", " at element 0 of index [1, 1]"),
                       IndexError);
}

TEST_CASE("language model: recompute changes no bit of the loss and its gradients, and keeps less") {
  const auto train = [](bool recompute) {
    Random random(1);
    Init init(random);
    LanguageModel model =
        make({.vocabulary = 5, .context = 32, .width = 16, .layers = 3, .heads = 2, .dropout = 0.1}, init, 64);
    model.options.recompute = recompute;
    Context context{.training = true, .random = &random};
    const Tensor tokens = full({8, 32}, 2, DType::i64);
    const i64 before = memory::stats().current_bytes;
    const Tensor loss = cross_entropy(model.forward(tokens, context), tokens);
    const i64 kept = memory::stats().current_bytes - before;
    std::vector<double> all{loss.item()};
    for (const Tensor& g : grad(loss, model.parameters()))
      for (const double v : g.to_vector<double>()) all.push_back(v);
    return std::pair(all, kept);
  };
  const auto [values, kept] = train(false);
  const auto [again, kept_less] = train(true);
  CHECK(values == again);
  CHECK(3 * kept_less < kept);
}

TEST_CASE("language model: gradient of the loss in every parameter") {
  Random random(1);
  Init init(random, DType::f64);
  LanguageModel model = make({.vocabulary = 5, .context = 4, .width = 4, .layers = 1, .heads = 2}, init, 6);
  const Tensor targets = tensor({{1, 2, 0}, {4, 0, 3}}, DType::i64);
  check_module(model, tensor({{0, 1, 2}, {3, 4, 0}}, DType::i64),
               [&](const Tensor& tokens) {
                 Context context;
                 return cross_entropy(model.forward(tokens, context), targets);
               },
               {.most = 8});
}

TEST_CASE("language model: learns a repeating text, then continues it; dropout on, same seed, same weights") {
  const auto train = [](u64 seed) {
    Random random(seed);
    Init init(random);
    auto model = std::make_unique<LanguageModel>(
        make({.vocabulary = 5, .context = 8, .width = 16, .layers = 1, .heads = 2, .dropout = 0.1}, init, 32));
    AdamW optimizer(decay_matrices(*model, 0.01), {.lr = 1e-2});
    for (int step = 0; step < 120; ++step) {
      random.advance();
      Context context{.training = true, .random = &random};
      const Tensor tokens = counting_tokens(step);
      const Tensor logits = model->forward(slice(tokens, 1, {0, 8}), context);
      cross_entropy(logits, slice(tokens, 1, {1, 9})).backward();
      optimizer.step();
      optimizer.zero_grad();
    }
    return model;
  };
  const auto model = train(1), again = train(1);
  CHECK(model->head.weight.to_vector<float>() == again->head.weight.to_vector<float>());
  Random random(2);
  const std::vector<i32> prompt{2, 3};
  CHECK(generate(*model, prompt, 12, 0, random) == std::vector<i32>{4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0});
  const auto some = generate(*model, prompt, 40, 5.0, random);
  CHECK(some.size() == 40);
  CHECK(some != generate(*model, prompt, 40, 5.0, random));
  CHECK_THROWS_WITH_AS(generate(*model, {}, 1, 1, random), "generate: the prompt must have a token; got none", Error);
  CHECK_THROWS_WITH_AS(generate(*model, prompt, -1, 1, random), "generate: count must be at least 0; got -1", Error);
  CHECK_THROWS_WITH_AS(generate(*model, prompt, 1, -1, random), "generate: temperature must be at least 0; got -1",
                       Error);
}

TEST_CASE("language model in bf16: the loss falls; weights and gradients are bf16, the averages of AdamW f32") {
  Random random(1);
  Init init(random, DType::bf16);
  LanguageModel model = make({.vocabulary = 5, .context = 8, .width = 16, .layers = 1, .heads = 2}, init, 32);
  AdamW optimizer(decay_matrices(model, 0.01), {.lr = 1e-2});
  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    Context context;
    const Tensor tokens = counting_tokens(step);
    const Tensor logits = model.forward(slice(tokens, 1, {0, 8}), context);
    CHECK(logits.dtype() == DType::bf16);
    const Tensor loss = cross_entropy(cast(logits, DType::f32), slice(tokens, 1, {1, 9}));
    loss.backward();
    last = loss.item();
    if (step == 0) first = last;
    for (const Tensor& p : model.parameters()) REQUIRE(p.grad().dtype() == DType::bf16);
    optimizer.step();
    optimizer.zero_grad();
  }
  CHECK(first > 1.2);  // ln 5 = 1.6 is a guess
  CHECK(last < 0.2);
  for (const NamedTensor& t : optimizer.state_dict())
    if (t.name.find("exp_avg") != std::string::npos) CHECK(t.tensor.dtype() == DType::f32);
}
