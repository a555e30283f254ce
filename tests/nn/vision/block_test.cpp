#include "nn/vision/block.h"

#include <doctest/doctest.h>

#include "nn/gradcheck.h"
#include "nn/moe/module_experts.h"
#include "nn/vision/mlp.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("VisionBlock: x + ls1(attn(norm1 x)) and so on; names in PyTorch's order; gradients by differences") {
  Random random(1);
  Init init(random, DType::f64);
  for (const bool scaled : {false, true}) {
    VisionBlock block(4, {.attention = {.heads = 2}, .layer_scale = scaled ? std::optional(0.5) : std::nullopt},
                      std::make_unique<Mlp>(4, Mlp::Options{.hidden = 3}, init), init);
    u64 seed = 30;  // no two norms or scales alike
    for (const Member& m : block.named_parameters())
      *m.tensor = random_tensor(m.tensor->shape(), ++seed).requires_grad_();
    const Tensor x = random_tensor({2, 3, 4}, 2), one = ones({4}, DType::f64);
    Context context;
    const Tensor ls1 = scaled ? block.ls1->gamma : one, ls2 = scaled ? block.ls2->gamma : one;
    const Tensor h = x + ls1 * block.attn.forward(block.norm1.forward(x), context);
    const Tensor want = h + ls2 * block.mlp->forward(block.norm2.forward(h), context);
    CHECK_LE(difference(block.forward(x, context), want), 1e-12);
    const StateDict state = block.state_dict();
    REQUIRE_EQ(state.size(), scaled ? 13 : 11);
    if (scaled) CHECK_EQ(state[5].name, "ls1.gamma");
    CHECK_EQ(state[scaled ? 8 : 7].name, "mlp.fc1.weight");
    const GradReport report = gradcheck(
        block, [&](const std::vector<Tensor>& in) { return block.forward(in[0], context); }, {x}, {.most = 30});
    CHECK_MESSAGE(report.ok, report.text());
  }
}

TEST_CASE("VisionBlock: both branches of a sample drop on their own; without an mlp there is no block") {
  Random random(1);
  Init init(random);
  VisionBlock block(4, {.attention = {.heads = 1}, .drop_path = 1}, std::make_unique<Identity>(), init);
  Context training{.training = true, .random = &random};
  const Tensor x = random_tensor({2, 3, 4}, 2, -1, 1, DType::f32);
  const u32 before = random.drawn();
  CHECK_EQ(difference(block.forward(x, training), x), 0);
  CHECK_EQ(random.drawn() - before, 2);
  CHECK_THROWS_WITH_AS(VisionBlock(4, {.attention = {.heads = 1}}, nullptr, init),
                       "VisionBlock: it must have an mlp; got none", Error);
}
