#include "nn/transformer_encoder_layer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// The layer by PyTorch's description, from ops: x [B, S, D].
Tensor by_hand(const TransformerEncoderLayer& layer, const Tensor& x) {
  const auto& o = layer.options;
  const i64 D = x.dim(2), H = o.heads, d = D / H;
  const auto attention = [&](const Tensor& in) {
    const Tensor all = linear(in, layer.in_proj_weight, layer.in_proj_bias);
    std::vector<Tensor> heads;
    for (i64 h = 0; h < H; ++h) {
      const auto part = [&](i64 which) { return slice(all, -1, {which * D + h * d, which * D + (h + 1) * d}); };
      const Tensor scores = einsum("bsd,btd->bst", part(0), part(1)) / std::sqrt(static_cast<double>(d));
      heads.push_back(einsum("bst,btd->bsd", softmax(scores, -1), part(2)));
    }
    return layer.out_proj.forward(concat(heads, -1));
  };
  const auto feed_forward = [&](const Tensor& in) {
    const Tensor h = layer.linear1.forward(in);
    return layer.linear2.forward(o.activation == Activation::relu ? relu(h) : gelu(h));
  };
  const auto norm = [&](const AnyNorm& n, const Tensor& in) { return layer_norm(in, n.weight, n.bias, o.eps); };
  if (o.norm_first) {
    const Tensor h = x + attention(norm(layer.norm1, x));
    return h + feed_forward(norm(layer.norm2, h));
  }
  const Tensor h = norm(layer.norm1, x + attention(x));
  return norm(layer.norm2, h + feed_forward(h));
}

}  // namespace

TEST_CASE("TransformerEncoderLayer: PyTorch's layer with every option, and its gradients") {
  const Tensor x = random_tensor({2, 3, 4}, 2);
  for (const Activation a : {Activation::relu, Activation::gelu})
    for (const bool batch_first : {false, true})
      for (const bool norm_first : {false, true})
        for (const bool bias : {false, true}) {
          CAPTURE(batch_first);
          CAPTURE(norm_first);
          CAPTURE(bias);
          Random random(7);
          Init init(random, DType::f64);
          TransformerEncoderLayer layer(4,
                                        {.heads = 2,
                                         .hidden = 3,
                                         .activation = a,
                                         .eps = 1e-3,
                                         .batch_first = batch_first,
                                         .norm_first = norm_first,
                                         .bias = bias},
                                        init);
          layer.norm1.weight = random_tensor({4}, 3);
          if (bias) layer.in_proj_bias = random_tensor({12}, 5);
          Context context;
          const Tensor want = batch_first ? by_hand(layer, x) : swap_axes(by_hand(layer, swap_axes(x, 0, 1)), 0, 1);
          CHECK_LE(difference(layer.forward(x, context), want), 1e-12);
          if (a == Activation::relu) continue;  // has a kink
          const GradReport report = gradcheck(
              layer, [&](const std::vector<Tensor>& in) { return layer.forward(in[0], context); }, {x}, {.most = 10});
          CHECK_MESSAGE(report.ok, report.text());
        }
}

TEST_CASE("TransformerEncoderLayer: names in PyTorch's order, initial values, dropout, sizes of 0 and 1, errors") {
  Random random(7);
  Init init(random);
  TransformerEncoderLayer layer(4, {.heads = 2, .hidden = 3}, init);
  std::vector<std::string> names;
  for (const NamedTensor& t : layer.state_dict()) names.push_back(t.name);
  CHECK(names == std::vector<std::string>{"self_attn.in_proj_weight", "self_attn.in_proj_bias",
                                          "self_attn.out_proj.weight", "self_attn.out_proj.bias", "linear1.weight",
                                          "linear1.bias", "linear2.weight", "linear2.bias", "norm1.weight",
                                          "norm1.bias", "norm2.weight", "norm2.bias"});
  CHECK_EQ(TransformerEncoderLayer(4, {.hidden = 3, .bias = false}, init).state_dict().size(), 6);
  CHECK_EQ(amax(abs(layer.out_proj.bias)).item(), 0);
  CHECK_LE(amax(abs(layer.in_proj_weight)).item(), std::sqrt(6.0 / 16));
  Context evaluation, training{.training = true, .random = &random};
  const u32 before = random.drawn();
  layer.forward(zeros({2, 3, 4}), evaluation);
  CHECK_EQ(random.drawn(), before);
  layer.forward(zeros({2, 3, 4}), training);
  CHECK_EQ(random.drawn() - before, 4);  // attention weights, hidden values, two branches
  CHECK(layer.forward(zeros({3, 0, 4}), evaluation).shape() == Shape{3, 0, 4});
  CHECK(layer.forward(zeros({1, 1, 4}), evaluation).shape() == Shape{1, 1, 4});
  CHECK_THROWS_WITH_AS(TransformerEncoderLayer(4, {.heads = 3}, init),
                       "TransformerEncoderLayer: heads must divide the width; got 3 and 4", ShapeError);
  CHECK_THROWS_WITH_AS(TransformerEncoderLayer(4, {.hidden = 0}, init),
                       "TransformerEncoderLayer: hidden must be >= 1; got 0", Error);
  CHECK_THROWS_WITH_AS(TransformerEncoderLayer(4, {.activation = Activation::geglu}, init),
                       "TransformerEncoderLayer: the activation must be one of a single tensor; got a gated one",
                       Error);
  CHECK_THROWS_WITH_AS(layer.forward(zeros({2, 3, 5}), evaluation),
                       "TransformerEncoderLayer: x must be [S, B, 4]; got [2, 3, 5]", ShapeError);
  const TransformerEncoderLayer first(4, {.heads = 2, .batch_first = true}, init);
  CHECK_THROWS_WITH_AS(first.forward(zeros({2, 4}), evaluation),
                       "TransformerEncoderLayer: x must be [B, S, 4]; got [2, 4]", ShapeError);
}
