#include "ops/autodiff/on_gradient.h"

#include <doctest/doctest.h>

#include <string>

#include "core/autograd.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
using Doubles = std::vector<double>;
Tensor leaf(const Literal& values) {
  Tensor x = tensor(values, DType::f64);
  return x.requires_grad_();
}
}  // namespace

TEST_CASE("on_gradient: looks at the sum over all uses, once, and changes nothing") {
  const Tensor x = leaf({1, 2});
  std::vector<Doubles> seen;
  const Tensor y = on_gradient(x, [&](const Tensor& g) { seen.push_back(g.to_vector<double>()); });
  CHECK(y.to_vector<double>() == Doubles{1, 2});
  const Tensor loss = sum(y * y + 3.0 * y + x);  // the use of x itself goes past the hook
  CHECK(grad(loss, {x})[0].to_vector<double>() == Doubles{6, 8});
  CHECK(seen == std::vector<Doubles>{{5, 7}});
}

TEST_CASE("on_gradient: replaces the gradient, for instance clips or reverses it") {
  const Tensor x = leaf({1, 2});
  CHECK(grad(sum(square(on_gradient(x, [](const Tensor& g) { return minimum(g, scalar_like(3, g)); }))), {x})[0]
            .to_vector<double>() == Doubles{2, 3});
  CHECK(grad(sum(on_gradient(x, [](const Tensor& g) { return -1.0 * g; })), {x})[0].to_vector<double>() ==
        Doubles{-1, -1});
}

TEST_CASE("on_gradient: of two in a row the one applied last is called first; a branch without a use is not called") {
  const Tensor x = leaf({1, 2});
  std::string order;
  const Tensor inner = on_gradient(x, [&](const Tensor& g) {
    order += "inner ";
    return g * 2.0;
  });
  const Tensor outer = on_gradient(inner, [&](const Tensor& g) {
    order += "outer ";
    return g + 1.0;
  });
  on_gradient(x, [&](const Tensor&) { order += "unused "; });
  CHECK(grad(sum(outer), {x})[0].to_vector<double>() == Doubles{4, 4});
  CHECK(order == "outer inner ");
}

TEST_CASE("on_gradient: what f computes is differentiated again, and f is called for the gradient of the gradient") {
  // y = x^2 behind a hook that squares its gradient: dx = (2 x dy)^2, ddx = 8 x, of which the hook makes its square
  const Tensor x = leaf({3});
  int calls = 0;
  const Tensor h = on_gradient(x, [&](const Tensor& g) {
    ++calls;
    return square(g);
  });
  const Tensor g = grad(sum(square(h)), {x}, {.create_graph = true})[0];
  CHECK((g.item() == 36 && calls == 1));
  const Tensor gg = grad(g, {x})[0];
  CHECK((gg.item() == 24 * 24 && calls == 2));  // d (2h)^2 / dh = 8 h = 24, through the hook again
}

TEST_CASE("on_gradient: as an identity it passes gradcheck to second order, also of views, and for f32") {
  CHECK_GRADIENTS(
      [](const std::vector<Tensor>& in) { return exp(on_gradient(transpose(in[0]), [](const Tensor&) {})); },
      {random_tensor({2, 3}, 1)}, {.order = 2});
  Tensor x = tensor({1, 2});
  x.requires_grad_();
  CHECK(grad(sum(on_gradient(x, [](const Tensor& g) { return g; })), {x})[0].dtype() == DType::f32);
}

TEST_CASE("on_gradient: without a gradient it is x itself") {
  const Tensor plain = tensor({1, 2}), x = leaf({1, 2});
  const auto never = [](const Tensor&) { FAIL("called"); };
  CHECK(on_gradient(plain, never).ref() == plain.ref());
  no_grad guard;
  CHECK(on_gradient(x, never).ref() == x.ref());
}

TEST_CASE("on_gradient: error texts") {
  const Tensor x = leaf({1, 2});
  const auto with = [&](const Tensor& returned) {
    grad(sum(on_gradient(x, [&](const Tensor&) { return returned; })), {x});
  };
  CHECK_THROWS_WITH_AS(with(zeros({3}, DType::f64)),
                       "on_gradient: f must return a gradient like that of x; got [3] for [2]", ShapeError);
  CHECK_THROWS_WITH_AS(with(zeros({2})), "on_gradient: operands must have one dtype; got f32 [2] and f64 [2]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(with(Tensor()), "on_gradient: f must return a gradient or nothing; got an empty handle", Error);
}
