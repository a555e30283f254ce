#include "examples/training/router_contest.h"

#include <doctest/doctest.h>

#include <cmath>

#include "examples/training/progress.h"
#include "nn/inspect/figures.h"

using namespace examples;

namespace {

ContestSettings tiny() {
  ContestSettings s{.image = 12, .patch = 4, .width = 16, .layers = 1, .heads = 2, .batch = 8};
  s.training_images = 64;
  s.validation_images = 32;
  s.looks = 3;
  s.feed_forward.experts = 4;
  return s;
}

void no_news(i64, double, double) {}

}  // namespace

TEST_CASE("contest: every router's step costs what the dense model's costs, by its own count") {
  const Contest contest(tiny());
  for (const FeedForwardKind& kind : feed_forward_kinds()) {
    CAPTURE(std::string(kind.name));
    const Contest::Entry entry = contest.enter(kind.name);
    CHECK(std::abs(entry.flops_per_token / contest.dense_flops_per_token() - 1) <= contest.settings().tolerance);
    CHECK(entry.parameters >= entry.active);
  }
  CHECK(contest.enter("dense").flops_per_token == contest.dense_flops_per_token());
  CHECK(contest.enter("dense").layers.hidden == 64);
}

TEST_CASE("contest: FLOPs that cannot be made equal are an error") {
  ContestSettings s = tiny();
  s.feed_forward.hidden = 2;  // what routing costs cannot be taken from it
  CHECK_THROWS_WITH_AS(Contest(s).enter("soft"), doctest::Contains("soft: FLOPs per token must be within 3 %"), Error);
}

TEST_CASE("contest: what is not a router or an expert begins alike for all routers of a seed") {
  const ContestSettings s = tiny();
  FeedForwardSettings dense{.ffn = "dense", .hidden = 8}, soft{.ffn = "soft", .hidden = 8, .experts = 4};
  GlyphClassifier a(s, 10, dense, 3), b(s, 10, soft, 3), other(s, 10, dense, 4);
  CHECK(a.head->weight.to_vector<float>() == b.head->weight.to_vector<float>());
  CHECK(a.blocks[0]->attention.q_proj.weight.to_vector<float>() ==
        b.blocks[0]->attention.q_proj.weight.to_vector<float>());
  CHECK(a.head->weight.to_vector<float>() != other.head->weight.to_vector<float>());
}

TEST_CASE("contest: a training has a curve from the first step to the last, the same one each time") {
  const Contest contest(tiny());
  const Contest::Entry entry = contest.enter("top_k");
  i64 news = 0;
  const auto count = [&](i64 steps, double, double) { CHECK(steps == ++news); };
  const auto one = contest.train(entry, 5, {.steps = 7}, count);
  const auto two = contest.train(entry, 5, {.steps = 7}, no_news),
             other = contest.train(entry, 6, {.steps = 7}, no_news);
  REQUIRE(one);
  REQUIRE(two);
  REQUIRE(other);
  CHECK(news == 7);
  CHECK(one->curve.loss.size() == 4);
  CHECK(one->curve.loss == two->curve.loss);
  CHECK(one->curve.loss != other->curve.loss);
  CHECK(one->curve.flops.front() == 0);
  CHECK(one->curve.seconds.front() == 0);
  const double expected = 7 * entry.flops_per_token * static_cast<double>(contest.tokens_per_step());
  CHECK(one->curve.flops.back() == doctest::Approx(expected).epsilon(0.05));  // routes move, and padding with them
  CHECK(one->load.size() == 1);
  CHECK(one->balance.variation > 0);
  CHECK(one->balance.dropped == 0);
}

TEST_CASE("contest: seconds that are not spent after the steps are spent on more of them") {
  const Contest contest(tiny());
  i64 steps = 0;
  const auto outcome = contest.train(contest.enter("dense"), 1, {.steps = 3, .seconds = 0.2},
                                     [&](i64 done, double, double) { steps = done; });
  REQUIRE(outcome);
  CHECK(steps > 3);
  CHECK(outcome->curve.seconds.back() >= 0.2);
  CHECK(std::isnan(outcome->balance.variation));  // nothing is routed
}

TEST_CASE("contest: a signal ends a training without a result") {
  const Contest contest(tiny());
  stop_requested = 1;
  const auto outcome = contest.train(contest.enter("dense"), 1, {.steps = 3}, no_news);
  stop_requested = 0;
  CHECK_FALSE(outcome);
}
