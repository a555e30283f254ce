#include "nn/moe/mhsa.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/context.h"
#include "nn/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Scaling = MHSA::Scaling;

// Token n of head h of what feature 3 (h D/H + d) + i of the projection holds: query, key or value.
struct Heads {
  const MHSA& layer;
  const Tensor& x;
  double operator()(i64 i, i64 b, i64 n, i64 feature) const {
    const Linear& w = layer.queries_keys_values;
    double y = value_at(w.bias, {3 * feature + i});
    for (i64 c = 0; c < x.dim(2); ++c) y += value_at(x, {b, n, c}) * value_at(w.weight, {3 * feature + i, c});
    return y;
  }
};

Tensor naive(const MHSA& layer, const Tensor& x, const Tensor& mask) {
  const i64 B = x.dim(0), N = x.dim(1), D = x.dim(2), H = layer.options.heads, W = D / H;
  const Scaling scaling = layer.options.scaling;
  const Heads at{layer, x};
  Tensor mixed = zeros(x.shape(), DType::f64), y = zeros(x.shape(), DType::f64);
  for_each_index({B, H, N}, [&](const std::vector<i64>& q) {
    double total = 0;
    std::vector<double> weight, values(static_cast<std::size_t>(W), 0);
    for (i64 n = 0; n < N; ++n) {
      double score = 0;
      for (i64 d = 0; d < W; ++d) score += at(0, q[0], q[2], q[1] * W + d) * at(1, q[0], n, q[1] * W + d);
      if (scaling == Scaling::scores) score /= std::sqrt(static_cast<double>(W));
      weight.push_back(mask && value_at(mask, {q[0], n}) == 0 ? 0 : std::exp(score));
      total += weight.back();
    }
    if (scaling == Scaling::probabilities) total *= std::sqrt(static_cast<double>(D));
    for (i64 d = 0; d < W; ++d) {
      double sum_of = 0;
      for (i64 n = 0; n < N; ++n) sum_of += weight[static_cast<std::size_t>(n)] * at(2, q[0], n, q[1] * W + d);
      set_value(mixed, {q[0], q[2], q[1] * W + d}, total > 0 ? sum_of / total : 0);
    }
  });
  for_each_index(y.shape(), [&](const std::vector<i64>& i) {
    double sum_of = value_at(layer.projection.bias, {i[2]});
    for (i64 c = 0; c < D; ++c)
      sum_of += value_at(mixed, {i[0], i[1], c}) * value_at(layer.projection.weight, {i[2], c});
    set_value(y, i, sum_of);
  });
  return y;
}

const Tensor& the_mask() {
  static const Tensor made = tensor({{1, 1, 0, 1, 0}, {0, 0, 0, 0, 0}}, DType::boolean);
  return made;
}

}  // namespace

TEST_CASE("MHSA: every scaling equals the definition in loops, with and without mask; gradients") {
  const Tensor x = random_tensor({2, 5, 6}, 3);
  for (const Scaling scaling : {Scaling::scores, Scaling::none, Scaling::probabilities})
    for (const i64 heads : {1, 3}) {
      Random random(5);
      Init init(random, DType::f64);
      MHSA layer(6, {.heads = heads, .scaling = scaling}, init);
      for (const Tensor& mask : {Tensor{}, the_mask()}) {
        Context context{.mask = mask};
        CHECK_LE(difference(layer.forward(x, context), naive(layer, x, mask)), 1e-13);
      }
      const auto forward = [&](const std::vector<Tensor>& in) {
        Context context{.mask = the_mask()};
        return layer.forward(in[0], context);
      };
      const GradReport report = gradcheck(layer, forward, {x}, {.order = 2, .most = 20});
      CHECK_MESSAGE(report.ok, report.table());
    }
}

TEST_CASE("MHSA: names, dropout in training only, no tokens, errors") {
  Random random(5);
  Init init(random);
  MHSA layer(6, {.heads = 2, .dropout = 0.5}, init);
  std::string names;
  for (const NamedTensor& t : layer.state_dict()) names += t.name + " ";
  CHECK_EQ(names, "queries_keys_values.weight queries_keys_values.bias projection.weight projection.bias ");
  const Tensor x = random_tensor({2, 5, 6}, 3, -1, 1, DType::f32);
  Context evaluation, training{.training = true, .random = &random};
  CHECK_EQ(difference(layer.forward(x, evaluation), layer.forward(x, evaluation)), 0);
  CHECK_GT(difference(layer.forward(x, training), layer.forward(x, training)), 0.001);
  CHECK_EQ(layer.forward(zeros({2, 0, 6}), evaluation).shape(), Shape{2, 0, 6});
  CHECK_THROWS_WITH_AS(layer.forward(zeros({2, 6}), evaluation), "MHSA: x must be [B, N, 6]; got x [2, 6]", ShapeError);
  CHECK_THROWS_WITH_AS(MHSA(6, {.heads = 4}, init), "MHSA: heads must divide the width; got 4 and 6", ShapeError);
  CHECK_THROWS_WITH_AS(MHSA(6, {.dropout = 2}, init), "MHSA: dropout must be in [0, 1]; got 2", Error);
}
