#include "nn/vision/attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Row = std::vector<double>;

// (v - mean) / sqrt(variance + eps) weight + bias; a norm without a bias takes no mean.
Row normed(const Row& v, const AnyNorm& norm) {
  const double n = static_cast<double>(v.size());
  double mean = 0, square = 0;
  if (norm.bias)
    for (const double e : v) mean += e / n;
  for (const double e : v) square += (e - mean) * (e - mean) / n;
  Row y;
  for (std::size_t i = 0; i < v.size(); ++i)
    y.push_back((v[i] - mean) / std::sqrt(square + norm.options.eps) * value_at(norm.weight, {static_cast<i64>(i)}) +
                (norm.bias ? value_at(norm.bias, {static_cast<i64>(i)}) : 0));
  return y;
}

Row projected(const Linear& layer, const Tensor& x, i64 b, i64 s, i64 first, i64 count) {
  Row y;
  for (i64 j = first; j < first + count; ++j) {
    double v = layer.bias ? value_at(layer.bias, {j}) : 0;
    for (i64 d = 0; d < x.dim(2); ++d) v += value_at(layer.weight, {j, d}) * value_at(x, {b, s, d});
    y.push_back(v);
  }
  return y;
}

double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Attention by its definition, up to the output projection.
Tensor naive_heads(const FusedAttention& layer, const Tensor& x) {
  const i64 B = x.dim(0), S = x.dim(1), D = x.dim(2), H = layer.options.heads, d = D / H;
  Tensor y = zeros({B, S, D}, DType::f64);
  for (i64 b = 0; b < B; ++b)
    for (i64 h = 0; h < H; ++h)
      for (i64 s = 0; s < S; ++s) {
        const auto part = [&](i64 row, i64 which, const AnyNorm* norm) {
          const Row v = projected(layer.qkv, x, b, row, which * D + h * d, d);
          return norm ? normed(v, *norm) : v;
        };
        const Row q = part(s, 0, layer.q_norm.get());
        Row weight;
        double total = 0;
        for (i64 t = 0; t < S; ++t)
          total +=
              weight.emplace_back(std::exp(dot(q, part(t, 1, layer.k_norm.get())) / std::sqrt(static_cast<double>(d))));
        for (i64 t = 0; t < S; ++t) {
          const Row v = part(t, 2, nullptr);
          for (i64 j = 0; j < d; ++j)
            set_value(y, {b, s, h * d + j},
                      value_at(y, {b, s, h * d + j}) +
                          weight[static_cast<std::size_t>(t)] / total * v[static_cast<std::size_t>(j)]);
        }
      }
  return y;
}

}  // namespace

TEST_CASE("FusedAttention: its definition in loops, with and without biases and norms, and its gradients") {
  const Tensor x = random_tensor({2, 4, 6}, 3);
  using Kind = NormOptions::Kind;
  for (const bool bias : {false, true})
    for (const bool qk_norm : {false, true})
      for (const Kind kind : {Kind::layer, Kind::rms}) {
        Random random(4);
        Init init(random, DType::f64);
        FusedAttention layer(6, {.heads = 2, .qkv_bias = bias, .qk_norm = qk_norm, .norm = {kind, 1e-3}}, init);
        if (qk_norm) layer.q_norm->weight = random_tensor({3}, 8), layer.k_norm->weight = random_tensor({3}, 9);
        Context context;
        const Tensor want = layer.proj.forward(naive_heads(layer, x));
        CHECK_LE(difference(layer.forward(x, context), want), 1e-12);
        CHECK_EQ(layer.state_dict().size(), 3 + bias + (qk_norm ? (kind == Kind::layer ? 4 : 2) : 0));
        const GradReport report = gradcheck(
            layer, [&](const std::vector<Tensor>& in) { return layer.forward(in[0], context); }, {x}, {.most = 30});
        CHECK_MESSAGE(report.ok, report.text());
      }
}

TEST_CASE("FusedAttention: sizes of 0 and 1, dropout in training, bf16, wrong arguments") {
  Random random(4);
  Init init(random);
  const FusedAttention layer(4, {.heads = 4, .qk_norm = true, .dropout = 0.5, .output_dropout = 0.5}, init);
  Context context, training{.training = true, .random = &random};
  CHECK(layer.forward(zeros({0, 3, 4}), context).shape() == Shape{0, 3, 4});
  CHECK(layer.forward(zeros({1, 1, 4}), context).shape() == Shape{1, 1, 4});
  const Tensor x = random_tensor({2, 5, 4}, 3, -1, 1, DType::f32);
  CHECK_EQ(difference(layer.forward(x, context), layer.forward(x, context)), 0);
  CHECK_GT(difference(layer.forward(x, training), layer.forward(x, training)), 0);
  for (const bool of_weights : {false, true}) {
    const FusedAttention one(4, {.heads = 2, .dropout = of_weights ? 0.5 : 0, .output_dropout = of_weights ? 0 : 0.5},
                             init);
    CHECK_GT(difference(one.forward(x, training), one.forward(x, context)), 0);
  }
  FusedAttention half(4, {.heads = 2, .qk_norm = true}, init);
  const Tensor want = half.forward(x, context);
  half.to(DType::bf16);
  CHECK_LE(difference(cast(half.forward(cast(x, DType::bf16), context), DType::f32), want), 0.03);
  CHECK_THROWS_WITH_AS(FusedAttention(4, {.heads = 3}, init),
                       "FusedAttention: heads must divide the width; got 3 and 4", ShapeError);
  CHECK_THROWS_WITH_AS(FusedAttention(4, {.heads = 2, .dropout = 1}, init), "dropout: p must be in [0, 1); got 1",
                       Error);
  CHECK_THROWS_WITH_AS(layer.forward(zeros({2, 3, 5}), context), "FusedAttention: x must be [B, S, 4]; got [2, 3, 5]",
                       ShapeError);
}
