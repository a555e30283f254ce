#include "nn/block.h"

#include <doctest/doctest.h>

#include "nn/feed_forward.h"
#include "ops/arithmetic.h"
#include "tests/support/check_module.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::unique_ptr<Layer> dense(i64 width, Init& init) {
  return std::make_unique<FeedForward>(width, FeedForward::Options{.hidden = 5}, init);
}

// Doubles its input and says where it is.
struct Probe : Layer {
  Tensor forward(const Tensor& x, Context& context) const override {
    context.record("seen", x);
    return x * 2;
  }
  void members(Members&) override {}
};

}  // namespace

TEST_CASE("block: x + attention(norm1(x)), then the same with the feed-forward layer, which knows its path") {
  Random random(1);
  Init init(random, DType::f64);
  const Block block(4, {.heads = 2}, std::make_unique<Probe>(), init);
  Context context;
  const Tensor x = random_tensor({2, 3, 4}, 1);
  const Tensor h = x + block.attention.forward(block.norm1.forward(x), context);
  CHECK(difference(block.forward(x, context), h + 2 * block.norm2.forward(h)) < 1e-15);
  REQUIRE(context.records.size() == 1);
  CHECK(context.records[0].name == "feed_forward.seen");
}

TEST_CASE("block: gradients of input and all parameters, and their names") {
  Random random(1);
  Init init(random, DType::f64);
  Block block(4, {.heads = 2}, dense(4, init), init);
  Context context;
  check_module(block, random_tensor({1, 3, 4}, 1), [&](const Tensor& x) { return block.forward(x, context); },
               {.most = 20});
  const StateDict state = block.state_dict();
  CHECK(state.size() == 2 + 5 + 2 + 4);
  CHECK(state[0].name == "norm1.weight");
  CHECK(state[2].name == "attention.q_proj.weight");
  CHECK(state[9].name == "feed_forward.w1.weight");
  CHECK_THROWS_WITH_AS(Block(4, {.heads = 2}, nullptr, init), "block: it must have a feed-forward layer; got none",
                       Error);
}
