#include "nn/moe/losses.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Two groups of four tokens; the mask leaves three and one of them.
const Tensor& the_mask() {
  static const Tensor made = tensor({{1, 0, 1, 1}, {0, 0, 1, 0}}, DType::boolean);
  return made;
}
const Tensor& the_choices() {
  static const Tensor made = tensor({{{0, 2}, {1, 2}, {2, 0}, {2, 1}}, {{1, 0}, {1, -1}, {0, 1}, {2, 2}}}, DType::i64);
  return made;
}

// The rows of x [G, N, ..] that the mask keeps, as groups of one row, for comparison with a loss without a mask.
Tensor kept_rows(const Tensor& x, const Tensor& mask) {
  std::vector<Tensor> rows;
  for (i64 g = 0; g < x.dim(0); ++g)
    for (i64 n = 0; n < x.dim(1); ++n)
      if (value_at(mask, {g, n}) != 0) rows.push_back(unsqueeze(unsqueeze(x[g][n], 0), 0));
  return concat(rows, 1);
}

}  // namespace

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

TEST_CASE("losses: the unreduced terms of load balancing, with shares of choices and of tokens, and a mask") {
  for (const bool masked : {false, true})
    for (const Share share : {Share::choices, Share::tokens}) {
      CAPTURE(masked);
      check_op(
          {.op =
               [&](Args x) { return load_balancing_terms(x[0], the_choices(), masked ? the_mask() : Tensor{}, share); },
           .reference =
               [&](Args x) {
                 Tensor y = zeros({2, 3}, DType::f64);
                 for_each_index({2, 3}, [&](const std::vector<i64>& at) {
                   double tokens = 0, hits = 0, p = 0;
                   for (i64 n = 0; n < 4; ++n) {
                     if (masked && value_at(the_mask(), {at[0], n}) == 0) continue;
                     tokens += 1;
                     p += value_at(x[0], {at[0], n, at[1]});
                     for (i64 k = 0; k < 2; ++k)
                       hits += value_at(the_choices(), {at[0], n, k}) == static_cast<double>(at[1]) ? 1 : 0;
                   }
                   const double of = share == Share::choices ? 2 * tokens : tokens;
                   set_value(y, at, 9 * (hits / of) * (p / tokens));
                 });
                 return y;
               },
           .inputs = {{2, 4, 3}}});
    }
}

TEST_CASE("losses: masked tokens and masked rows change nothing, whatever they hold") {
  const Tensor x = random_tensor({2, 4, 3}, 1, 0.1, 1), nan = full({2, 4, 3}, std::nan(""), DType::f64);
  const Tensor poisoned = where(unsqueeze(the_mask(), -1), x, nan);
  // The mean over groups gives both groups the same weight, however many tokens they have.
  const Tensor first = kept_rows(slice(x, 0, {0, 1}), the_mask()),
               second = kept_rows(slice(x, 0, {1, 2}), slice(the_mask(), 0, {1, 2}));
  const Tensor chosen1 = kept_rows(slice(the_choices(), 0, {0, 1}), the_mask()),
               chosen2 = kept_rows(slice(the_choices(), 0, {1, 2}), slice(the_mask(), 0, {1, 2}));
  const double both = (load_balancing_loss(first, chosen1).item() + load_balancing_loss(second, chosen2).item()) / 2;
  CHECK_EQ(load_balancing_loss(poisoned, the_choices(), the_mask()).item(), doctest::Approx(both).epsilon(1e-14));
  const Tensor padded = concat({the_mask(), zeros({1, 4}, DType::boolean)}, 0);
  CHECK_EQ(load_balancing_loss(concat({x, slice(nan, 0, {0, 1})}, 0),
                               concat({the_choices(), slice(the_choices(), 0, {0, 1})}, 0), padded)
               .item(),
           doctest::Approx(both).epsilon(1e-14));

  const Tensor kept = kept_rows(x, the_mask());
  for (Tensor (*loss)(const Tensor&, const Tensor&) : {router_z_loss, balance_entropy_loss, token_entropy_loss}) {
    CHECK_EQ(loss(poisoned, the_mask()).item(), doctest::Approx(loss(kept, {}).item()).epsilon(1e-14));
    CHECK_EQ(loss(x, zeros({2, 4}, DType::boolean)).item(), 0);
    CHECK_EQ(loss(zeros({2, 0, 3}), {}).item(), 0);
  }
  CHECK_EQ(load_balancing_loss(x, the_choices(), zeros({2, 4}, DType::boolean)).item(), 0);
  CHECK_EQ(load_balancing_loss(zeros({2, 0, 3}), zeros({2, 0, 2}, DType::i64), zeros({2, 0}, DType::boolean)).item(),
           0);
}

TEST_CASE("losses: masked ones have finite gradients that are 0 at masked tokens, also where all are masked") {
  for (const Tensor& mask : {the_mask(), zeros({2, 4}, DType::boolean)}) {
    Tensor x = random_tensor({2, 4, 3}, 1, 0.1, 1);
    x.requires_grad_();
    const Tensor total = load_balancing_loss(x, the_choices(), mask) + router_z_loss(x, mask) +
                         balance_entropy_loss(x, mask) + token_entropy_loss(x, mask);
    const Tensor dx = grad(total, {x})[0];
    for_each_index({2, 4, 3}, [&](const std::vector<i64>& at) {
      CHECK((value_at(dx, at) != 0) == (value_at(mask, {at[0], at[1]}) != 0));
    });
    if (value_at(mask, {0, 0}) == 0) continue;
    for (Tensor (*loss)(const Tensor&, const Tensor&) : {router_z_loss, balance_entropy_loss, token_entropy_loss})
      check_op({.op = [&](Args in) { return loss(in[0], mask); }, .inputs = {Input({2, 4, 3}, 0.1, 1)}});
  }
}

TEST_CASE("importance: gates added up by expert") {
  check_op({.op = [](Args x) { return importance(x[0], the_choices(), 4); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({4}, DType::f64);
                  for_each_index({2, 4, 2}, [&](const std::vector<i64>& at) {
                    const i64 e = static_cast<i64>(value_at(the_choices(), at));
                    if (e >= 0) set_value(y, {e}, value_at(y, {e}) + value_at(x[0], at));
                  });
                  return y;
                },
            .inputs = {{2, 4, 2}}});
  CHECK_THROWS_WITH_AS(importance(zeros({2, 3}), zeros({2, 3}, DType::i64), 2),
                       "importance: gates and chosen must both be [G, N, K]; got [2, 3] and [2, 3]", ShapeError);
}

TEST_CASE("cv_squared: variance over squared mean, by hand; 0 where there is nothing to compare") {
  CHECK_EQ(cv_squared(tensor({1, 2, 3, 6}, DType::f64)).item(), doctest::Approx(3.5 / 9));
  CHECK_EQ(cv_squared(tensor({1, 2, 3, 6}, DType::f64), {.correction = 1, .epsilon = 1}).item(),
           doctest::Approx(14.0 / 3 / 10));
  CHECK_EQ(cv_squared(tensor({5, 5, 5}, DType::f64)).item(), 0);
  CHECK_EQ(cv_squared(tensor({7}, DType::f64), {.correction = 1}).item(), 0);
  check_op({.op = [](Args x) { return cv_squared(x[0], {.correction = 1, .epsilon = 1e-10}); },
            .inputs = {Input({2, 3}, 1, 2)}});
  check_op({.op = [](Args x) { return cv_squared(x[0]); }, .inputs = {Input({2, 3}, 1, 2)}});
  Tensor unused = zeros({2, 3}, DType::f64);
  unused.requires_grad_();
  const Tensor y = cv_squared(unused);
  CHECK(y.to_vector<double>() == std::vector<double>{0, 0});
  CHECK_EQ(sum(abs(grad(sum(y), {unused})[0])).item(), 0);
  CHECK_THROWS_WITH_AS(cv_squared(ones({3}), {.correction = std::numeric_limits<i64>::min()}),
                       "cv_squared: correction and epsilon must be >= 0; got -9223372036854775808 and 0", Error);
  CHECK_THROWS_WITH_AS(load_balancing_terms(zeros({2, 3, 4}), zeros({2, 3, 1}, DType::i64), zeros({3}, DType::boolean)),
                       "load_balancing_terms: mask must be [2, 3]; got [3]", ShapeError);
  CHECK_THROWS_WITH_AS(cv_squared(scalar(1)), "cv_squared: x must be [.., E]; got []", ShapeError);
}

TEST_CASE("entropies: signs and ends of their ranges") {
  const double most = std::log(3.0);
  const Tensor even = full({1, 3, 3}, 1.0 / 3, DType::f64), one = one_hot(zeros({1, 3}, DType::i64), 3),
               each = one_hot(tensor({{0, 1, 2}}, DType::i64), 3);
  const Tensor collapsed = cast(dense(one), DType::f64), decided = cast(dense(each), DType::f64);
  CHECK_EQ(balance_entropy_loss(even).item(), doctest::Approx(0));
  CHECK_EQ(balance_entropy_loss(decided).item(), doctest::Approx(0));
  CHECK_EQ(balance_entropy_loss(collapsed).item(), doctest::Approx(most));
  CHECK_EQ(token_entropy_loss(even).item(), doctest::Approx(most));
  CHECK_EQ(token_entropy_loss(decided * 1000.0).item(), doctest::Approx(0));
  // moefy's is the other way round: its sum is larger for experts used alike.
  CHECK_GT(sum(l2_mass_entropy(sum(even, 1))).item(), sum(l2_mass_entropy(sum(collapsed, 1))).item());
}

TEST_CASE("entropies: finite gradients where probabilities are 0") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    Tensor logits = tensor({{{0, 1000, -1000}, {5, 900, -2000}}}, dtype);
    logits.requires_grad_();
    const Tensor total = balance_entropy_loss(softmax(logits, -1)) + token_entropy_loss(logits);
    CHECK_EQ(total.item(), doctest::Approx(std::log(3.0)));
    const Tensor d = grad(total, {logits})[0];
    CHECK(all(isfinite(d)).item() == 1);
  }
}

TEST_CASE("l2_mass_entropy: elementwise, with the Euclidean norm; all zeros stay zeros") {
  check_op({.op = [](Args x) { return l2_mass_entropy(x[0]); },
            .reference =
                [](Args x) {
                  Tensor y = zeros({2, 3}, DType::f64);
                  for (i64 g = 0; g < 2; ++g) {
                    double squares = 0;
                    for (i64 e = 0; e < 3; ++e) squares += value_at(x[0], {g, e}) * value_at(x[0], {g, e});
                    for (i64 e = 0; e < 3; ++e) {
                      const double r = value_at(x[0], {g, e}) / std::sqrt(squares);
                      set_value(y, {g, e}, -r * std::log(r));
                    }
                  }
                  return y;
                },
            .inputs = {Input({2, 3}, 0.5, 2)}});
  CHECK(l2_mass_entropy(zeros({2}, DType::f64)).to_vector<double>() == std::vector<double>{0, 0});
  CHECK_THROWS_WITH_AS(l2_mass_entropy(scalar(1)), "l2_mass_entropy: mass must be [.., E]; got []", ShapeError);
}

TEST_CASE("losses: the coefficient of variation has no unit, also where the square of the mean overflows") {
  for (const double unit : {1e-30, 1e-20, 1.0, 1e20, 1e30}) {
    CAPTURE(unit);
    Tensor x = tensor({1.0, 2.0, 0.0, 5.0}, DType::f32) * unit;
    x = x.detach().requires_grad_();
    const Tensor y = cv_squared(x);
    CHECK_EQ(y.item(), doctest::Approx(3.5 / 4));  // variance 14 / 4, mean 2
    const Tensor dx = grad(y, {x})[0];
    CHECK(all(isfinite(dx)).item() == 1);
    // d/dx_i = (2 (x_i - m) / n - 2 v / (n m)) / m^2
    CHECK_EQ(value_at(dx, {3}) * unit, doctest::Approx((1.5 - 7.0 / 8) / 4));
  }
}

TEST_CASE("losses: shapes and dtypes are checked") {
  CHECK_THROWS_WITH_AS(router_z_loss(zeros({2, 3, 4}), zeros({2, 4}, DType::boolean)),
                       "router_z_loss: mask must be [2, 3]; got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(balance_entropy_loss(zeros({2, 3})),
                       "balance_entropy_loss: probabilities must be [G, N, E] with E >= 1; got [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(token_entropy_loss(zeros({2, 0})),
                       "token_entropy_loss: logits must be [.., E] with E >= 1; got [2, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(token_entropy_loss(zeros({2, 3}), zeros({2})),
                       "token_entropy_loss: x must be bool (mask); got f32", DTypeError);
}
