#include "nn/optim/clip.h"

#include <doctest/doctest.h>

#include <limits>

#include "core/autograd.h"
#include "nn/optim/adam.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "tests/support/check_op.h"

using namespace moegrad;

TEST_CASE("clip_grad_norm: the update is that of the clipped gradient, and gradients stay as they are") {
  Tensor a = tensor({1, 1}, DType::f64), b = tensor({1, 1}, DType::f64);
  a.requires_grad_(), b.requires_grad_();
  sum(a * tensor({3, 0}, DType::f64) + b * tensor({0, 4}, DType::f64)).backward();
  const Tensor parameters[] = {a, b};
  const Clip clip = clip_grad_norm(parameters, 2);
  CHECK(clip.norm.item() == doctest::Approx(5));
  CHECK(clip.scale.item() == doctest::Approx(2 / 5.000001));
  CHECK(clip_grad_norm(parameters, 10).scale.item() == 1);
  AdamW optimizer({{{{"a", a}, {"b", b}}}}, {.lr = 0.1, .beta1 = 0, .beta2 = 0, .eps = 1});
  optimizer.step(clip.scale);  // w - lr g / (|g| + eps)
  const double g = 3 * clip.scale.item();
  CHECK(a.to_vector<double>()[0] == doctest::Approx(1 - 0.1 * g / (g + 1)));
  CHECK(a.grad().to_vector<double>() == std::vector<double>{3, 0});
  CHECK_THROWS_WITH_AS(clip_grad_norm(parameters, 0), "clip_grad_norm: max_norm must be above 0; got 0", Error);
}

TEST_CASE("clip_grad_norm: norms of every kind; scale_gradients applies what it found") {
  Tensor a = zeros({2}, DType::f32), b = zeros({2}, DType::f32), none = zeros({2}, DType::f32);
  a.requires_grad_(), b.requires_grad_(), none.requires_grad_();
  backward(alias(a), tensor({3, 0}));
  backward(alias(b), tensor({0, -4}));
  const Tensor parameters[] = {a, b, none};
  CHECK(clip_grad_norm(parameters, 1, 1).norm.item() == doctest::Approx(7));
  CHECK(clip_grad_norm(parameters, 1, 3).norm.item() == doctest::Approx(std::cbrt(91)));
  const Clip largest = clip_grad_norm(parameters, 2, std::numeric_limits<double>::infinity());
  CHECK(largest.norm.item() == 4);
  scale_gradients(parameters, largest.scale);
  CHECK(b.grad().to_vector<double>()[1] == doctest::Approx(-2).epsilon(1e-6));
  CHECK(a.grad().dtype() == DType::f32);
  CHECK_THROWS_WITH_AS(clip_grad_norm(parameters, 1, 0), "clip_grad_norm: p must be above 0; got 0", Error);
}

TEST_CASE("clip_grad_value: every element into the range, the gradient itself") {
  Tensor a = zeros({3}, DType::f64);
  a.requires_grad_();
  backward(alias(a), tensor({3, -0.25, -4}, DType::f64));
  const Tensor parameters[] = {a};
  clip_grad_value(parameters, 0.5);
  CHECK(a.grad().to_vector<double>() == std::vector<double>{0.5, -0.25, -0.5});
  CHECK_THROWS_WITH_AS(clip_grad_value(parameters, -1), "clip_grad_value: limit must not be negative; got -1", Error);
}
