#include "ops/probability_loss.h"

#include <doctest/doctest.h>

#include <cmath>
#include <tuple>

#include "core/autograd.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

double log_sigmoid_of(double x) { return -std::log1p(std::exp(-x)); }

// Adds up f(elements of the inputs at one index, broadcast), as the mean.
std::function<Tensor(Args)> naive_mean(std::function<double(const std::vector<double>&)> f) {
  const auto map = naive_map(std::move(f));
  return [map](Args in) {
    const Tensor losses = map(in);
    double total = 0;
    for_each_index(losses.shape(), [&](const std::vector<i64>& at) { total += value_at(losses, at); });
    return scalar(total / static_cast<double>(losses.size()), DType::f64);
  };
}

}  // namespace

TEST_CASE("bce_loss: forward, gradient to both, second order, weights") {
  for (const Shape& weight : {Shape{3, 4}, Shape{4}, Shape{}})
    check_op(
        {.name = "bce_loss",
         .op = [](Args x) { return bce_loss(x[0], x[1], {.weight = x[2]}); },
         .reference = naive_mean([](const std::vector<double>& v) {
           return -v[2] * (v[1] * std::log(v[0]) + (1 - v[1]) * std::log(1 - v[0]));
         }),
         .inputs = {Input({3, 4}, 0.2, 0.8), Input({3, 4}, 0, 1), Input::fixed(random_tensor(weight, 3, 0.5, 2))}});
  for (const Shape& shape : {Shape{5}, Shape{0, 2}, Shape{}})
    check_op({.name = "bce_loss",
              .op = [](Args x) { return bce_loss(x[0], x[1], {.reduction = Reduction::none}); },
              .reference = naive_map([](const std::vector<double>& v) {
                return -(v[1] * std::log(v[0]) + (1 - v[1]) * std::log(1 - v[0]));
              }),
              .inputs = {Input(shape, 0.2, 0.8), Input(shape, 0, 1)}});
}

TEST_CASE("bce_loss: certain predictions cost at most 100 and have a finite gradient; no probability gives NaN") {
  const Tensor p = tensor({0, 1, 0, 1}, DType::f64).requires_grad_(), t = tensor({0, 1, 1, 0}, DType::f64);
  const Tensor y = bce_loss(p, t, {.reduction = Reduction::none});
  CHECK(y.to_vector<double>() == std::vector<double>{0, 0, 100, 100});
  const double most = 1 / static_cast<double>(1e-12f);
  CHECK_LE(difference(grad(y, {p}, ones({4}, DType::f64))[0], tensor({0, 0, -most, most}, DType::f64)), 1e-15);
  CHECK(std::isnan(bce_loss(scalar(1.5), scalar(0)).item()));
  CHECK(std::isnan(bce_loss(scalar(-0.5), scalar(1)).item()));
}

TEST_CASE("bce_loss: derivatives of the gradient are finite where a logarithm is cut") {
  const Tensor p = tensor({0, 1, 0, 1}, DType::f64).requires_grad_();
  const Tensor t = tensor({0, 1, 1, 0}, DType::f64).requires_grad_();
  const Tensor y = bce_loss(p, t, {.reduction = Reduction::none}), one = ones({4}, DType::f64);
  const std::vector<Tensor> g = grad(y, {p, t}, one, {.create_graph = true});
  CHECK(g[1].to_vector<double>() == std::vector<double>{100, -100, 100, -100});
  // of the gradient to target, log(1 - p) - log p: the logarithm that is cut has none
  const Tensor mixed = grad(g[1], {p}, one, {.retain_graph = true})[0];
  CHECK(mixed.to_vector<double>() == std::vector<double>{-1, -1, -1, -1});
  const double most = 1 / static_cast<double>(1e-12f);
  const std::vector<Tensor> second = grad(g[0], {p, t}, one);
  CHECK_LE(difference(second[0], full({4}, most, DType::f64)), 1e-15);
  CHECK_LE(difference(second[1], full({4}, -most, DType::f64)), 1e-15);
}

TEST_CASE("bce_with_logits_loss: forward, gradient to both, second order, both weights") {
  const auto naive = [](const std::vector<double>& v) {  // x, target, weight, positive weight
    return -v[2] * (v[3] * v[1] * log_sigmoid_of(v[0]) + (1 - v[1]) * log_sigmoid_of(-v[0]));
  };
  for (const Shape& positive : {Shape{3, 4}, Shape{4}, Shape{3, 1}})
    check_op({.name = "bce_with_logits_loss",
              .op = [](Args x) { return bce_with_logits_loss(x[0], x[1], {.weight = x[2], .positive_weight = x[3]}); },
              .reference = naive_mean(naive),
              .inputs = {Input({3, 4}, -3, 3), Input({3, 4}, 0, 1), Input::fixed(random_tensor({4}, 3, 0.5, 2)),
                         Input::fixed(random_tensor(positive, 4, 0.5, 2))}});
  for (const Shape& shape : {Shape{5}, Shape{0, 2}, Shape{}})
    check_op({.name = "bce_with_logits_loss",
              .op = [](Args x) { return bce_with_logits_loss(x[0], x[1], {.reduction = Reduction::none}); },
              .reference = naive_map([&](const std::vector<double>& v) {
                return naive({v[0], v[1], 1, 1});
              }),
              .inputs = {Input(shape, -3, 3), Input(shape, 0, 1)}});
}

TEST_CASE("bce_with_logits_loss: logits far from 0") {
  const Tensor x = tensor({1000, -1000, 1000, -1000}, DType::f64).requires_grad_(),
               t = tensor({1, 0, 0, 1}, DType::f64);
  const Tensor y = bce_with_logits_loss(x, t, {.reduction = Reduction::none});
  CHECK(y.to_vector<double>() == std::vector<double>{0, 0, 1000, 1000});
  CHECK_EQ(difference(grad(y, {x}, ones({4}, DType::f64))[0], tensor({0, 0, 1, -1}, DType::f64)), 0);
  // Both tails keep their digits: a confident right answer costs about e^-|x|.
  for (const double sign : {1.0, -1.0})
    for (const auto& [dtype, far, tolerance] :
         {std::tuple{DType::f64, 40.0, 1e-14}, {DType::f32, 40.0, 1e-6}, {DType::bf16, 5.0, 2 * 0x1p-8}}) {
      const Tensor tail = bce_with_logits_loss(scalar(sign * far, dtype), scalar(sign > 0 ? 1 : 0, dtype));
      CHECK(std::abs(tail.item() / std::log1p(std::exp(-far)) - 1) < tolerance);
    }
}

TEST_CASE("kl_div_loss: forward, gradient to both, second order") {
  for (const Shape& shape : {Shape{3, 4}, Shape{5}, Shape{0, 2}}) {
    check_op({.name = "kl_div_loss",
              .op = [](Args x) { return kl_div_loss(x[0], x[1], Reduction::none); },
              .reference = naive_map([](const std::vector<double>& v) { return v[1] * (std::log(v[1]) - v[0]); }),
              .inputs = {Input(shape, -3, 0), Input(shape, 0.2, 1)}});
    check_op({.name = "kl_div_loss",
              .op = [](Args x) { return kl_div_loss(x[0], x[1], Reduction::none, true); },
              .reference = naive_map([](const std::vector<double>& v) { return std::exp(v[1]) * (v[1] - v[0]); }),
              .inputs = {Input(shape, -3, 0), Input(shape, -3, 0)}});
  }
  const Tensor x = random_tensor({3, 4}, 1, -2, 0), t = random_tensor({3, 4}, 2, 0.1, 1);
  const double total = kl_div_loss(x, t, Reduction::sum).item();
  CHECK(std::abs(kl_div_loss(x, t, Reduction::batch_mean).item() - total / 3) < 1e-15);
  CHECK(std::abs(kl_div_loss(x, t).item() - total / 12) < 1e-15);
}

TEST_CASE("kl_div_loss: a target of 0 adds nothing, even where the log-probability is -infinity") {
  const Tensor x = tensor({-1, -INFINITY}, DType::f64).requires_grad_(),
               t = tensor({0, 0}, DType::f64).requires_grad_();
  const Tensor logs = full({2}, -INFINITY, DType::f64).requires_grad_();
  for (const bool log_target : {false, true}) {
    const Tensor& target = log_target ? logs : t;
    const Tensor y = kl_div_loss(x, target, Reduction::none, log_target);
    CHECK(y.to_vector<double>() == std::vector<double>{0, 0});
    for (const Tensor& g : grad(y, {x, target}, ones({2}, DType::f64)))
      CHECK(g.to_vector<double>() == std::vector<double>{0, 0});
  }
}

TEST_CASE("entropy: forward, gradient, second order, over each axis; absent classes add nothing") {
  for (const int axis : {0, 1})
    check_op({.name = "entropy",
              .op = [&](Args x) { return entropy(x[0], axis); },
              .reference =
                  [&](Args in) {
                    const i64 m = in[0].dim(1 - axis), n = in[0].dim(axis);
                    Tensor y = empty({m}, DType::f64);
                    for (i64 i = 0; i < m; ++i) {
                      const auto x = [&](i64 j) {
                        return value_at(in[0], axis == 1 ? std::vector<i64>{i, j} : std::vector<i64>{j, i});
                      };
                      double sum = 0, mean = 0;
                      for (i64 j = 0; j < n; ++j) sum += std::exp(x(j)), mean += x(j) * std::exp(x(j));
                      set_value(y, {i}, std::log(sum) - mean / sum);
                    }
                    return y;
                  },
              .inputs = {Input({3, 5}, -3, 3)}});
  check_op({.name = "entropy", .op = [](Args x) { return entropy(x[0]); }, .inputs = {{0, 4}}});
  const Tensor x = tensor({0, -INFINITY, 0, -2000}, DType::f64).requires_grad_();
  CHECK(std::abs(entropy(x).item() - std::log(2.0)) < 1e-15);
  CHECK_LE(difference(grad(entropy(x), {x})[0], zeros({4}, DType::f64)), 1e-15);
}

TEST_CASE("probability losses: error texts name the op, the rule and the operands") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(bce_loss(x, zeros({2})),
                       "bce_loss: x and target must have one shape; got x [2, 3] and target [2]", ShapeError);
  CHECK_THROWS_WITH_AS(bce_loss(x, x, {.weight = zeros({2})}),
                       "bce_loss: weight must broadcast to x; got weight [2] and x [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(bce_loss(x, x, {.positive_weight = zeros({3})}),
                       "bce_loss: positive_weight is for logits, see bce_with_logits_loss; got one", Error);
  CHECK_THROWS_WITH_AS(
      bce_with_logits_loss(x, x, {.positive_weight = zeros({4, 2, 3})}),
      "bce_with_logits_loss: positive_weight must broadcast to x; got positive_weight [4, 2, 3] and x [2, 3]",
      ShapeError);
  CHECK_THROWS_WITH_AS(bce_with_logits_loss(x, x, {.weight = zeros({3}, DType::f64)}),
                       "bce_with_logits_loss: operands must have one dtype; got f32 [2, 3] and f64 [3]", DTypeError);
  CHECK_THROWS_WITH_AS(kl_div_loss(zeros({2}, DType::i64), zeros({2}, DType::i64)),
                       "kl_div_loss: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(entropy(zeros({2, 0})), "entropy: axis must not be empty; got axis 1 of x [2, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(entropy(zeros({2}, DType::i64)), "entropy: x must be f32, f64 or bf16; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(entropy(x, 2), "entropy: axis must be in [-2, 2); got 2 for x [2, 3]", ShapeError);
}
