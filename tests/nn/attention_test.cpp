#include "nn/attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/slice.h"
#include "tests/support/check_module.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix rows_of(const Tensor& x) {
  Matrix m(static_cast<std::size_t>(x.dim(0)), std::vector<double>(static_cast<std::size_t>(x.dim(1))));
  for (i64 i = 0; i < x.dim(0); ++i)
    for (i64 j = 0; j < x.dim(1); ++j)
      m[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] = value_at(x, {i, j});
  return m;
}

Matrix project(const Matrix& x, const Tensor& weight, const Tensor& bias = {}) {
  const Matrix w = rows_of(weight);
  Matrix y(x.size(), std::vector<double>(w.size(), 0));
  for (std::size_t s = 0; s < x.size(); ++s)
    for (std::size_t o = 0; o < w.size(); ++o) {
      if (bias) y[s][o] = value_at(bias, {static_cast<i64>(o)});
      for (std::size_t i = 0; i < x[s].size(); ++i) y[s][o] += w[o][i] * x[s][i];
    }
  return y;
}

// One sequence, plain loops over heads, positions and channels.
Matrix naive(const SelfAttention& layer, const Matrix& x) {
  const Matrix q = project(x, layer.q_proj.weight), k = project(x, layer.k_proj.weight),
               v = project(x, layer.v_proj.weight);
  const std::size_t S = x.size(), D = q[0].size(), H = static_cast<std::size_t>(layer.options.heads), d = D / H;
  Matrix mixed(S, std::vector<double>(D, 0));
  for (std::size_t h = 0; h < H; ++h)
    for (std::size_t s = 0; s < S; ++s) {
      const std::size_t seen = layer.options.causal ? s + 1 : S;
      std::vector<double> weight(seen, 0);
      double total = 0;
      for (std::size_t t = 0; t < seen; ++t) {
        double score = 0;
        for (std::size_t i = h * d; i < (h + 1) * d; ++i) score += q[s][i] * k[t][i];
        total += weight[t] = std::exp(score / std::sqrt(static_cast<double>(d)));
      }
      for (std::size_t t = 0; t < seen; ++t)
        for (std::size_t i = h * d; i < (h + 1) * d; ++i) mixed[s][i] += weight[t] / total * v[t][i];
    }
  return project(mixed, layer.o_proj.weight, layer.o_proj.bias);
}

}  // namespace

TEST_CASE("self-attention: equals plain loops, causal and not") {
  for (const bool causal : {true, false}) {
    Random random(1);
    Init init(random, DType::f64);
    const SelfAttention layer(6, {.heads = 2, .causal = causal}, init);
    const Tensor x = random_tensor({3, 5, 6}, 4, -2, 2);
    Context context;
    const Tensor y = layer.forward(x, context);
    for (i64 b = 0; b < 3; ++b) {
      const Matrix expected = naive(layer, rows_of(x[b]));
      double worst = 0;
      for (i64 s = 0; s < 5; ++s)
        for (i64 i = 0; i < 6; ++i)
          worst = std::max(worst, std::abs(value_at(y, {b, s, i}) -
                                           expected[static_cast<std::size_t>(s)][static_cast<std::size_t>(i)]));
      CHECK(worst < 1e-13);
    }
  }
}

TEST_CASE("self-attention: a later position changes no earlier output") {
  Random random(1);
  Init init(random, DType::f64);
  const SelfAttention layer(4, {.heads = 2}, init);
  Context context;
  const Tensor x = random_tensor({1, 6, 4}, 1), z = random_tensor({1, 6, 4}, 1);
  for (i64 i = 0; i < 4; ++i) set_value(z, {0, 4, i}, 9);
  const Tensor a = layer.forward(x, context), b = layer.forward(z, context);
  CHECK(difference(slice(a, 1, {0, 4}), slice(b, 1, {0, 4})) == 0);
  CHECK(difference(slice(a, 1, {4, 6}), slice(b, 1, {4, 6})) > 1e-3);
}

TEST_CASE("self-attention: gradients of input and all parameters") {
  Random random(1);
  Init init(random, DType::f64);
  SelfAttention layer(4, {.heads = 2, .bias = true}, init);
  Context context;
  check_module(layer, random_tensor({2, 3, 4}, 1), [&](const Tensor& x) { return layer.forward(x, context); },
               {.order = 2});
}

TEST_CASE("self-attention: dropout in training only; errors") {
  Random random(1);
  Init init(random);
  SelfAttention layer(4, {.heads = 2, .dropout = 0.5}, init);
  Context evaluation, training{.training = true, .random = &random};
  const Tensor x = random_tensor({2, 3, 4}, 1, -1, 1, DType::f32);
  CHECK(difference(layer.forward(x, evaluation), layer.forward(x, evaluation)) == 0);
  CHECK(difference(layer.forward(x, training), layer.forward(x, training)) > 0);
  layer.output_dropout.p = 0;  // of attention weights only
  CHECK(difference(layer.forward(x, training), layer.forward(x, training)) > 0);
  layer.options.dropout = 0;
  CHECK(difference(layer.forward(x, training), layer.forward(x, evaluation)) == 0);
  CHECK_THROWS_WITH_AS(layer.forward(zeros({2, 3, 5}), evaluation),
                       "self-attention: x must be [B, S, 4]; got x [2, 3, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(SelfAttention(6, {.heads = 4}, init), "self-attention: heads must divide the width; got 4 and 6",
                       ShapeError);
}
