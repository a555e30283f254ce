#include "nn/moe/losses.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("load_balancing_loss: E sum f p by hand, 1 when uniform, E when collapsed") {
  // two tokens, two experts, K = 1: both choose expert 0
  const Tensor p = tensor({{{0.9, 0.1}, {0.6, 0.4}}}, DType::f64);
  const Tensor chosen = tensor({{{0}, {0}}}, DType::i64);
  CHECK_EQ(load_balancing_loss(p, chosen).item(), doctest::Approx(2 * (1.0 * 0.75 + 0.0 * 0.25)));
  CHECK_EQ(
      load_balancing_loss(full({1, 4, 4}, 0.25, DType::f64), tensor({{{0, 1}, {2, 3}, {1, 0}, {3, 2}}}, DType::i64))
          .item(),
      doctest::Approx(1));
  CHECK_EQ(
      load_balancing_loss(reshape(tensor({{1, 0, 0}, {1, 0, 0}}, DType::f64), {1, 2, 3}), zeros({1, 2, 1}, DType::i64))
          .item(),
      doctest::Approx(3));
}

TEST_CASE("load_balancing_loss: mean over groups, gradient through the probabilities, no tokens") {
  const Tensor chosen = tensor({{{0, 2}, {1, 2}, {2, 0}}, {{1, 0}, {1, -1}, {0, 1}}}, DType::i64);
  check_op({.op = [&](Args x) { return load_balancing_loss(x[0], chosen); },
            .reference =
                [&](Args x) {
                  double total = 0;
                  for (i64 g = 0; g < 2; ++g)
                    for (i64 e = 0; e < 4; ++e) {
                      double f = 0, p = 0;
                      for (i64 n = 0; n < 3; ++n) {
                        p += value_at(x[0], {g, n, e}) / 3;
                        for (i64 k = 0; k < 2; ++k)
                          f += value_at(chosen, {g, n, k}) == static_cast<double>(e) ? 1.0 / 6 : 0;
                      }
                      total += 4 * f * p / 2;
                    }
                  return full({}, total, DType::f64);
                },
            .inputs = {{2, 3, 4}}});
  CHECK_EQ(load_balancing_loss(zeros({1, 0, 3}), zeros({1, 0, 2}, DType::i64)).item(), 0);
  CHECK_THROWS_WITH_AS(
      load_balancing_loss(zeros({2, 3}), zeros({2, 3, 1}, DType::i64)),
      "load_balancing_loss: probabilities must be [G, N, E] and chosen [G, N, K]; got [2, 3] and [2, 3, 1]",
      ShapeError);
}

TEST_CASE("router_z_loss: mean of squared log-sum-exp, to second order") {
  check_op({.op = [](Args x) { return router_z_loss(x[0]); },
            .reference =
                [](Args x) {
                  double total = 0;
                  for (i64 g = 0; g < 2; ++g)
                    for (i64 n = 0; n < 3; ++n) {
                      double s = 0;
                      for (i64 e = 0; e < 4; ++e) s += std::exp(value_at(x[0], {g, n, e}));
                      total += std::log(s) * std::log(s) / 6;
                    }
                  return full({}, total, DType::f64);
                },
            .inputs = {{2, 3, 4}}});
  CHECK_EQ(router_z_loss(zeros({1, 0, 3})).item(), 0);
  CHECK_THROWS_WITH_AS(router_z_loss(zeros({2, 0})), "router_z_loss: logits must be [.., E] with E >= 1; got [2, 0]",
                       ShapeError);
}
