#include "nn/moe/sparse_moe_block.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

StMoE::Options small(i64 experts, i64 top_n) {
  StMoE::Options o;
  o.router = {.experts = experts, .top_n = top_n, .threshold_train = {0.3}, .threshold_eval = {0.6}};
  o.hidden_mult = 1;
  return o;
}

Context replaying(const Tensor& u, bool training) {
  Context context{.training = training};
  context.replayed.tensors = {u};
  return context;
}

}  // namespace

TEST_CASE("SparseMoEBlock: residual branches around the mixture") {
  const Tensor x = random_tensor({2, 8, 4}, 1), u = random_tensor({2, 2, 8}, 2, 0, 1);
  const auto norm = [](const GammaNorm& n, const Tensor& v) {
    return v / sqrt(sum(v * v, -1, keep_dims)) * 2.0 * n.gamma;  // sqrt(4)
  };
  const auto feed_forward = [&](const StFeedForward& f, const Tensor& v) {
    const Tensor h = matmul(norm(f.norm, v), transpose(f.w1.weight)) + f.w1.bias;
    const i64 F = f.mult_bias.dim(0);
    const Tensor gate = slice(h, -1, {F, 2 * F});
    const Tensor gelu = gate * 0.5 * erfc(gate * -std::sqrt(0.5));
    return matmul(gelu * slice(h, -1, {0, F}) * f.mult_bias, transpose(f.w2.weight)) + f.w2.bias;
  };
  for (const bool before : {false, true})
    for (const bool after : {false, true}) {
      Random random(5);
      Init init(random, DType::f64);
      SparseMoEBlock block(4, {.moe = small(3, 2), .ff_before = before, .ff_after = after}, init);
      for (Member& m : block.named_parameters())
        *m.tensor = (m.tensor->detach() + 0.3 * random_tensor(m.tensor->shape(), 9)).requires_grad_();
      Context context = replaying(u, true), other = replaying(u, true);
      Tensor want = x;
      if (before) want = want + feed_forward(*block.ff_before, want);
      want = want + block.moe->forward(norm(block.moe_prenorm, want), other);
      if (after) want = want + feed_forward(*block.ff_after, want);
      CHECK_LE(difference(block.forward(x, context), want), 1e-13);
      CHECK_EQ(context.records.at(0).name, "moe.load");
      CHECK_EQ(static_cast<bool>(block.ff_before), before);
      const auto forward = [&](const std::vector<Tensor>& in) {
        Context c = replaying(u, true);
        return block.forward(in[0], c);
      };
      const GradReport report = gradcheck(block, forward, {x}, {.most = 30, .redraw = 20});
      CHECK_MESSAGE(report.ok, report.text());
    }
}

TEST_CASE("SparseMoEBlock: gradients with a mask and an expert that gets no token") {
  Random random(5);
  Init init(random, DType::f64);
  SparseMoEBlock block(4, {.moe = small(3, 2), .ff_before = true}, init);
  auto& gate = dynamic_cast<StMoERouter&>(*block.moe->router).to_gates;
  {
    no_grad guard;
    gate.weight.assign(tensor({{1, 1, 1, 1}, {-9, -9, -9, -9}, {0.5, 1.5, 1, 0.7}}, DType::f64));
    block.ff_before->w2.weight.assign(zeros({4, block.ff_before->w2.weight.dim(1)}, DType::f64));
    block.ff_before->w2.bias.assign(zeros({4}, DType::f64));
  }
  const Tensor x = random_tensor({2, 6, 4}, 1, 0.1, 1), u = random_tensor({2, 2, 6}, 2, 0, 1),
               mask = tensor({{1, 1, 0, 1, 1, 1}, {1, 0, 1, 1, 0, 1}}, DType::boolean);
  std::vector<i64> load;
  const auto forward = [&](const std::vector<Tensor>& in) {
    Context c = replaying(u, true);
    c.mask = mask;
    Tensor y = block.forward(in[0], c);
    for (const NamedTensor& record : c.records)
      if (record.name == "moe.load") load = record.tensor.to_vector<i64>();
    for (const auto& [name, loss] : c.losses) y = y + loss;
    return y;
  };
  const GradReport report = gradcheck(block, forward, {x}, {.most = 30, .redraw = 20});
  CHECK_MESSAGE(report.ok, report.table());
  REQUIRE_EQ(load.size(), 3);
  CHECK_EQ(load[1], 0);
  CHECK_GT(load[0], 0);
}

TEST_CASE("SparseMoEBlock: names of the state dictionary are st-moe-pytorch's") {
  Random random(5);
  Init init(random);
  SparseMoEBlock block(6, {.moe = small(2, 2), .ff_before = true}, init);
  std::vector<std::string> names;
  for (const NamedTensor& t : block.state_dict()) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  std::vector<std::string> want{"moe.gate.threshold_eval", "moe.gate.threshold_train", "moe.gate.to_gates.weight",
                                "moe_prenorm.gamma"};
  for (const char* e : {"0", "1"})
    for (const char* name : {"net.0.weight", "net.0.bias", "net.1.mult_bias", "net.2.weight", "net.2.bias"})
      want.push_back(std::string("moe.experts.experts.") + e + "." + name);
  for (const char* ff : {"ff_before", "ff_after"})
    for (const char* name :
         {"net.0.gamma", "net.1.weight", "net.1.bias", "net.2.mult_bias", "net.3.weight", "net.3.bias"})
      want.push_back(std::string(ff) + "." + name);
  std::sort(want.begin(), want.end());
  CHECK(names == want);
  CHECK_EQ(block.ff_after->w1.weight.shape(), Shape{32, 6});  // 2 floor(6 * 4 * 2 / 3)
  CHECK_EQ(block.parameters().size(), 6 + 6 + 1 + 1 + 5);     // thresholds are no parameters
}

TEST_CASE("SparseMoEBlock: errors") {
  Random random(5);
  Init init(random);
  CHECK_THROWS_WITH_AS(SparseMoEBlock(std::unique_ptr<StMoE>{}, {}, init),
                       "SparseMoEBlock: it must have a mixture; got none", Error);
  for (const double mult : {0.1, 1e300})
    CHECK_THROWS_WITH_AS(StFeedForward(6, init, mult),
                         fmt::format("StFeedForward: the hidden size, 2/3 hidden_mult width, must be >= 1; got "
                                     "hidden_mult {} and width 6",
                                     mult)
                             .c_str(),
                         Error);
  const StMoERouter router(6, {.experts = 2}, init);
  Context context;
  CHECK_THROWS_WITH_AS(router.route(zeros({1, 3, 5}), {}, context), "StMoE: x must be [G, N, 6]; got [1, 3, 5]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 3, 6}), zeros({3, 2}, DType::boolean), context),
                       "StMoE: mask must be [G, N] = [2, 3]; got [3, 2]", ShapeError);
}
