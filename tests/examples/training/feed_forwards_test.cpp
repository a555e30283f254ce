#include "examples/training/feed_forwards.h"

#include <doctest/doctest.h>

#include "nn/moegrad.h"
#include "tests/support/device.h"

using namespace examples;

namespace {

constexpr i64 kTokens = 24;

// A small model of two layers of that kind.
LanguageModel model_of(const FeedForwardSettings& s, Init& init) {
  return LanguageModel(
      {.vocabulary = 11, .context = kTokens, .width = 8, .layers = 2, .heads = 2},
      [&](i64, double gain, Init& in) {
        return make_feed_forward(s, {.width = 8, .tokens = kTokens, .output_gain = gain}, in);
      },
      init);
}

FeedForwardSettings small(const char* name) { return {.ffn = name, .hidden = 6, .experts = 4, .topk = 2}; }

Tensor tokens(i64 rows) {
  std::vector<i64> v;
  for (i64 i = 0; i < rows * kTokens; ++i) v.push_back((i * i + 3 * i) % 11);
  return from_vector(v, {rows, kTokens});
}

// What causality_check finds in a model with these weights, with the same random numbers in each of its runs.
bool sees_the_future(const FeedForwardSettings& s, u64 seed) {
  Random random(seed);
  Init init(random, DType::f64);
  const LanguageModel model = model_of(s, init);
  const auto forward = [&](const Tensor& t) {
    Random draws(7);
    Context context{.random = &draws};
    return model.forward(t, context);
  };
  return !causality_check(forward, tokens(1), 1, {.most = 6}).ok;
}

// Whether slots are scarce enough for a leak to show depends on the weights: a few are tried.
bool sees_the_future(const FeedForwardSettings& s) {
  for (u64 seed = 1; seed <= 8; ++seed)
    if (sees_the_future(s, seed)) return true;
  return false;
}

bool all_zero(const Tensor& t) {
  for (const double v : t.to_vector<double>())
    if (v != 0) return false;
  return true;
}

}  // namespace

TEST_CASE("feed-forward layers: every row learns, and every parameter has a gradient") {
  for (const FeedForwardKind& kind : feed_forward_kinds()) {
    CAPTURE(std::string(kind.name));
    Random random(1);
    Init init(random);
    LanguageModel model = model_of(small(kind.name), init);
    AdamW optimizer(decay_matrices(model, 0), {.lr = 1e-2});
    double first = 0, last = 0;
    for (int step = 0; step < 20; ++step) {
      random.advance();
      Context context{.training = true, .random = &random};
      Tensor loss = cross_entropy(model.forward(tokens(8), context), tokens(8));
      (step == 0 ? first : last) = loss.item();
      for (const auto& [name, value] : context.losses) loss = loss + 0.01 * value;
      loss.backward();
      for (const Member& m : model.named_parameters()) {
        CAPTURE(m.name);
        REQUIRE(m.tensor->grad());
        if (step == 19) CHECK_FALSE(all_zero(m.tensor->grad()));
      }
      optimizer.step();
      optimizer.zero_grad();
    }
    CHECK(last < 0.8 * first);
  }
}

TEST_CASE("feed-forward layers: a row leaks future tokens exactly if it says so") {
  for (const FeedForwardKind& kind : feed_forward_kinds())
    for (const double capacity : {0.0, 1.0, 4.0, 7.0})
      for (const i64 topk : {1, 2}) {
        FeedForwardSettings s = small(kind.name);
        s.capacity = capacity, s.topk = topk;
        CAPTURE(std::string(kind.name));
        CAPTURE(capacity);
        CAPTURE(topk);
        CHECK(kind.leaks(s) == sees_the_future(s));
        CHECK(leak_warning(s).empty() == !kind.leaks(s));
      }
}

TEST_CASE("feed-forward layers: experts as wide as makes a token cost what it costs in a dense layer") {
  Random random(1);
  Init init(random);
  const auto flops = [&](FeedForwardSettings s) {
    const auto layer = make_feed_forward(s, {.width = 16, .tokens = 16}, init);
    const Tensor x = random_normal({1, 16, 16}, 0, 1, random.next());
    no_grad guard;
    CostLedger ledger;
    Context context{.training = true, .random = &random};  // st_moe has other slots in evaluation
    layer->forward(x, context);
    double products = 0;
    for (const char* op : {"matmul", "linear", "grouped_matmul"})
      if (const auto found = ledger.by_op().find(op); found != ledger.by_op().end()) products += found->second.flops;
    return products;
  };
  const double dense = flops({.ffn = "dense", .hidden = 480});
  for (const FeedForwardKind& kind : feed_forward_kinds()) {
    CAPTURE(std::string(kind.name));
    const double even = flops({.ffn = kind.name, .hidden = 480, .same_flops = true, .experts = 4});
    CHECK(even / dense > 0.75);  // the router's product is beside it, and zero experts are drawn by chance
    CHECK(even / dense < 1.25);
  }
}

TEST_CASE("feed-forward layers: names, and what an unknown one says") {
  CHECK(std::string(feed_forward_kind("moe").name) == "top_k");
  CHECK_THROWS_WITH_AS(feed_forward_kind("tok"), doctest::Contains("ffn: must be one of dense, top_k, noisy_top_k"),
                       Error);
  CHECK(leak_warning({.ffn = "top_k"}).empty());
  CHECK(leak_warning({.ffn = "moe", .capacity = 1.25}) ==
        "--ffn top_k lets a position see the ones behind it, as first choices are served before second ones: losses "
        "look better than they are; leave out --capacity, or take --topk 1");
}
