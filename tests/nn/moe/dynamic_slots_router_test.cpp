#include "nn/moe/dynamic_slots_router.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr i64 kWidth = 3;

struct Setup {
  Random random{3};
  Init init{random, DType::f64};
  Context context;
  DynamicSlotsRouter router;
  explicit Setup(i64 experts) : router(kWidth, {.experts = experts}, init) {
    no_grad guard;
    router.norm.gamma.assign(random_tensor({kWidth}, 4));
  }
};

Tensor keep(const Literal& values) { return cast(tensor(values), DType::boolean); }

// The slot of expert e for segment c, or nothing where it has no token.
std::vector<double> naive_slot(const DynamicSlotsRouter& router, const Tensor& x, const Tensor& mask, i64 g, i64 e,
                               i64 c) {
  const i64 E = router.options.experts;
  std::vector<double> mean(kWidth, 0), slot(kWidth, 0);
  double count = 0, length = 0;
  for (i64 n = c * E; n < std::min((c + 1) * E, x.dim(1)); ++n)
    if (!mask || value_at(mask, {g, n}) != 0) {
      ++count;
      for (i64 d = 0; d < kWidth; ++d) mean[static_cast<std::size_t>(d)] += value_at(x, {g, n, d});
    }
  if (count == 0) return {};
  for (std::size_t d = 0; d < kWidth; ++d) {
    for (std::size_t i = 0; i < kWidth; ++i)
      slot[d] +=
          value_at(router.projection.weight, {e * kWidth + static_cast<i64>(d), static_cast<i64>(i)}) * mean[i] / count;
    length += slot[d] * slot[d];
  }
  for (std::size_t d = 0; d < kWidth; ++d)
    slot[d] *= std::sqrt(3.0) / std::sqrt(length) * value_at(router.norm.gamma, {static_cast<i64>(d)});
  return slot;
}

// [2, G, P, N]: dispatch and combine by their definitions; what is masked has e^logit = 0.
Tensor naive_weights(const DynamicSlotsRouter& router, const Tensor& x, const Tensor& mask) {
  const i64 G = x.dim(0), N = x.dim(1), E = router.options.experts, C = (N + E - 1) / E;
  Tensor power = zeros({G, E * C, N}, DType::f64), y = zeros({2, G, E * C, N}, DType::f64);
  for_each_index(power.shape(), [&](const std::vector<i64>& i) {
    const std::vector<double> slot = naive_slot(router, x, mask, i[0], i[1] / C, i[1] % C);
    if (slot.empty() || (mask && value_at(mask, {i[0], i[2]}) == 0)) return;
    double logit = 0;
    for (i64 d = 0; d < kWidth; ++d) logit += slot[static_cast<std::size_t>(d)] * value_at(x, {i[0], i[2], d});
    set_value(power, i, std::exp(logit));
  });
  for_each_index(y.shape(), [&](const std::vector<i64>& i) {
    double total = 0;
    for (i64 n = 0; i[0] == 0 && n < N; ++n) total += value_at(power, {i[1], i[2], n});
    for (i64 p = 0; i[0] == 1 && p < E * C; ++p) total += value_at(power, {i[1], p, i[3]});
    if (total > 0) set_value(y, i, value_at(power, {i[1], i[2], i[3]}) / total);
  });
  return y;
}

Tensor both(const Routing& r) { return concat({unsqueeze(r.dispatch, 0), unsqueeze(r.combine, 0)}, 0); }

}  // namespace

TEST_CASE(
    "DynamicSlotsRouter: weights in loops, gradients to second order; masks, and lengths that E does not divide") {
  const Tensor five = keep({{1, 1, 0, 1, 1}, {0, 0, 0, 0, 0}, {0, 0, 1, 1, 0}});
  const Tensor six = keep({{1, 0, 0, 0, 1, 1}, {0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 0}});
  for (const i64 experts : {1, 2, 3, 7})
    for (const Tensor& mask : {Tensor{}, five, six}) {
      CAPTURE(experts);
      const Tensor x = random_tensor({3, mask ? mask.dim(1) : 5, kWidth}, 5, -2, 2);
      CAPTURE(x.dim(1));
      Setup s(experts);
      CHECK_LE(difference(both(s.router.route(x, mask, s.context)), naive_weights(s.router, x, mask)), 1e-12);
      const GradReport report = gradcheck(
          s.router, [&](const std::vector<Tensor>& in) { return both(s.router.route(in[0], mask, s.context)); }, {x},
          {.order = 2, .most = 20});
      CHECK_MESSAGE(report.ok, report.text());
    }
}

TEST_CASE("DynamicSlotsRouter: the mean of slots is that of every slot, with those of empty segments") {
  Setup s(2);
  s.router.options.weights.masked = SoftWeights::Masked::mean_of_slots;
  const Tensor mask = keep({{1, 1, 0, 0, 1, 0, 0}});  // four segments, the second and the last one empty
  const Routing r = s.router.route(random_tensor({1, 7, kWidth}, 5), mask, s.context);
  CHECK_EQ(r.dispatch.shape(), Shape{1, 8, 7});
  CHECK_EQ(r.logits.shape(), Shape{1, 7, 2, 4});
  for (i64 p = 0; p < 8; ++p) {
    CHECK_EQ(value_at(r.combine, {0, p, 2}), doctest::Approx(1.0 / 8));
    if (p % 4 % 2 == 0) CHECK_EQ(value_at(r.dispatch, {0, p, 2}), 0);
    if (p % 4 % 2 == 1) CHECK_EQ(value_at(r.dispatch, {0, p, 2}), doctest::Approx(1.0 / 8));  // 7 tokens and one added
  }
}

TEST_CASE(
    "DynamicSlotsRouter: a segment has the mean of its tokens, which shows where the norm does not divide it out") {
  Setup s(2);
  const Tensor token = random_tensor({1, 1, kWidth}, 6, 1e-14, 1e-13), other = token + 1;  // a length below 1e-12
  const Tensor alone = s.router.route(concat({token, other}, 1), keep({{1, 0}}), s.context).logits;
  const Tensor twice = s.router.route(concat({token, token}, 1), {}, s.context).logits;
  for (i64 e = 0; e < 2; ++e)
    CHECK_EQ(value_at(alone, {0, 0, e, 0}) / value_at(twice, {0, 0, e, 0}), doctest::Approx(1));
}

TEST_CASE("DynamicSlotsRouter: no group, no token, one token; noise; bf16") {
  Setup s(4);
  for (const Shape& shape : {Shape{0, 5, kWidth}, Shape{2, 0, kWidth}, Shape{2, 1, kWidth}}) {
    const Tensor x = zeros(shape, DType::f64).requires_grad_();
    for (const Tensor& mask : {Tensor{}, ones({shape[0], shape[1]}, DType::boolean)}) {
      const Routing r = s.router.route(x, mask, s.context);
      CHECK_EQ(r.dispatch.shape(), Shape{shape[0], 4 * ((shape[1] + 3) / 4), shape[1]});
      CHECK_EQ(grad(sum(r.combine), {s.router.projection.weight})[0].shape(), Shape{12, 3});
    }
  }
  const Tensor x = random_tensor({2, 5, kWidth}, 5), quiet = s.router.route(x, {}, s.context).logits;
  s.router.options.noise.factor = 0.5;
  const Tensor gumbel = random_tensor({2, 8, 4, 2}, 8);  // of added tokens, too
  Context training{.training = true};
  training.replayed.tensors = {gumbel};
  CHECK_LE(difference(s.router.route(x, {}, training).logits, quiet + 0.5 * slice(gumbel, 1, {0, 5})), 1e-14);
  CHECK_EQ(difference(s.router.route(x, {}, s.context).logits, quiet), 0);

  s.router.to(DType::bf16);
  const Tensor narrow = cast(x, DType::bf16);
  const Routing b = s.router.route(narrow, {}, s.context);
  s.router.to(DType::f32);
  const Routing w = s.router.route(widen(narrow), {}, s.context);
  CHECK(b.combine.dtype() == DType::bf16);
  CHECK_EQ(difference(b.logits, w.logits), 0);
}

TEST_CASE("DynamicSlotsRouter: what makes no sense is refused") {
  Setup s(2);
  CHECK_THROWS_WITH_AS(DynamicSlotsRouter(4, {.experts = 0}, s.init), "DynamicSlotsRouter: experts must be >= 1; got 0",
                       Error);
  CHECK_THROWS_WITH_AS(DynamicSlotsRouter(4, {.noise = {.factor = -1}}, s.init),
                       "DynamicSlotsRouter: the factor of the noise must be >= 0; got -1", Error);
  const Tensor x = zeros({2, 5, kWidth}, DType::f64);
  CHECK_THROWS_WITH_AS(s.router.route(zeros({2, 5, 4}, DType::f64), {}, s.context),
                       "DynamicSlotsRouter: x must be [G, N, 3]; got [2, 5, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(s.router.route(x, zeros({5, 2}, DType::boolean), s.context),
                       "DynamicSlotsRouter: mask must be [G, N] = [2, 5]; got [5, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(s.router.route(x, zeros({2, 5}), s.context),
                       "DynamicSlotsRouter: x must be bool (mask); got f32", DTypeError);
}
