#include "ops/autodiff/derivatives.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/autodiff/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Tensors = std::vector<Tensor>;

// x [2, 3], w [3]: y [2] = sum_j sin(x_ij) w_j^2, whose derivatives are known.
const Function kSines = [](const Tensors& in) { return sum(sin(in[0]) * square(in[1]), 1); };
const Tensors& at() {
  static const Tensors made{random_tensor({2, 3}, 1), random_tensor({3}, 2)};
  return made;
}
// The same summed to a scalar, for Hessians.
const Function kTotal = [](const Tensors& in) { return sum(kSines(in)); };

Tensor along(const Function& fn, const Tensors& xs, const Tensors& ts, double step) {
  Tensors moved;
  for (std::size_t i = 0; i < xs.size(); ++i) moved.push_back(xs[i] + ts[i] * step);
  return fn(moved);
}
Tensor central(const Function& fn, const Tensors& xs, const Tensors& ts, double eps = 1e-5) {
  return (along(fn, xs, ts, eps) - along(fn, xs, ts, -eps)) / (2 * eps);
}

}  // namespace

TEST_CASE("jacobian: several inputs, against the closed form") {
  const Tensors j = jacobian(kSines, at());
  REQUIRE((j[0].shape() == Shape{2, 2, 3} && j[1].shape() == Shape{2, 3}));
  for (i64 i = 0; i < 2; ++i)
    for (i64 k = 0; k < 3; ++k) {
      const double x = value_at(at()[0], {i, k}), w = value_at(at()[1], {k});
      CHECK(value_at(j[0], {i, i, k}) == doctest::Approx(std::cos(x) * w * w).epsilon(1e-14));
      CHECK(value_at(j[0], {i, 1 - i, k}) == 0);
      CHECK(value_at(j[1], {i, k}) == doctest::Approx(2 * std::sin(x) * w).epsilon(1e-14));
    }
  CHECK_FALSE(j[0].requires_grad());
}

TEST_CASE("hessian: all blocks, against the closed form") {
  const auto h = hessian(kTotal, at());
  REQUIRE(
      (h[0][0].shape() == Shape{2, 3, 2, 3} && h[0][1].shape() == Shape{2, 3, 3} && h[1][0].shape() == Shape{3, 2, 3}));
  for (i64 i = 0; i < 2; ++i)
    for (i64 k = 0; k < 3; ++k) {
      const double x = value_at(at()[0], {i, k}), w = value_at(at()[1], {k});
      CHECK(value_at(h[0][0], {i, k, i, k}) == doctest::Approx(-std::sin(x) * w * w).epsilon(1e-14));
      CHECK(value_at(h[0][0], {i, k, 1 - i, k}) == 0);
      CHECK(value_at(h[0][1], {i, k, k}) == doctest::Approx(2 * std::cos(x) * w).epsilon(1e-14));
      CHECK(value_at(h[1][0], {k, i, k}) == value_at(h[0][1], {i, k, k}));
      const double both = 2 * (std::sin(value_at(at()[0], {0, k})) + std::sin(value_at(at()[0], {1, k})));
      CHECK(value_at(h[1][1], {k, k}) == doctest::Approx(both).epsilon(1e-14));
    }
}

TEST_CASE("vjp and jvp: products with the Jacobian from either side; y comes with them") {
  const Tensor dy = random_tensor({2}, 3);
  const Tensors t{random_tensor({2, 3}, 4), random_tensor({3}, 5)};
  const Tensors j = jacobian(kSines, at());
  const Vjp left = vjp(kSines, at(), dy);
  CHECK(difference(left.y, kSines(at())) == 0);
  CHECK(difference(left.dxs[0], einsum("i,ijk->jk", dy, j[0])) < 1e-15);
  CHECK(difference(left.dxs[1], einsum("i,ij->j", dy, j[1])) < 1e-15);
  const Jvp right = jvp(kSines, at(), t);
  CHECK(difference(right.y, kSines(at())) == 0);
  CHECK(difference(right.dy, einsum("ijk,jk->i", j[0], t[0]) + einsum("ij,j->i", j[1], t[1])) < 1e-15);
  CHECK(difference(right.dy, central(kSines, at(), t)) < 1e-9);
  CHECK_FALSE(
      (left.y.requires_grad() || left.dxs[0].requires_grad() || right.y.requires_grad() || right.dy.requires_grad()));
}

TEST_CASE("hvp: the Hessian times a vector, against hessian and differences of the gradient") {
  const Tensors v{random_tensor({2, 3}, 4), random_tensor({3}, 5)};
  const auto h = hessian(kTotal, at());
  const Tensors hv = hvp(kTotal, at(), v);
  CHECK(difference(hv[0], einsum("ijkl,kl->ij", h[0][0], v[0]) + einsum("ijk,k->ij", h[0][1], v[1])) < 1e-15);
  CHECK(difference(hv[1], einsum("ijk,jk->i", h[1][0], v[0]) + einsum("ij,j->i", h[1][1], v[1])) < 1e-15);
  const Function slope = [](const Tensors& in) { return vjp(kTotal, in, ones({}, DType::f64)).dxs[1]; };
  CHECK(difference(hv[1], central(slope, at(), v)) < 1e-9);
  CHECK_FALSE(hv[0].requires_grad());
}

TEST_CASE("derivatives of functions of one tensor; f32, bf16") {
  const auto cube = [](const Tensor& x) { return sum(x * x * x); };
  const Tensor x = tensor({1, -2}), v = tensor({3, 5});
  CHECK(hvp(cube, x, v).to_vector<double>() == std::vector<double>{18, -60});
  CHECK(hessian(cube, x).to_vector<double>() == std::vector<double>{6, 0, 0, -12});
  CHECK(jacobian([](const Tensor& a) { return a * a; }, x).to_vector<double>() == std::vector<double>{2, 0, 0, -4});
  CHECK(vjp([](const Tensor& a) { return a * a; }, x, v).dx.to_vector<double>() == std::vector<double>{6, -20});
  const Jvp r = jvp([](const Tensor& a) { return a * a; }, x, v);
  CHECK((r.dy.to_vector<double>() == std::vector<double>{6, -20} && r.dy.dtype() == DType::f32));
  const Tensor half = cast(x, DType::bf16);
  CHECK(jacobian([](const Tensor& a) { return a * a; }, half).to_vector<double>() == std::vector<double>{2, 0, 0, -4});
  CHECK(hvp(cube, half, cast(v, DType::bf16)).dtype() == DType::bf16);
}

TEST_CASE("derivatives: zeros where the output does not depend on an input, or is linear, or constant") {
  const Function first = [](const Tensors& in) { return 2.0 * in[0]; };
  const Tensors xs{random_tensor({2}, 1), random_tensor({3}, 2)}, ts{ones({2}, DType::f64), ones({3}, DType::f64)};
  CHECK(jacobian(first, xs)[1].to_vector<double>() == std::vector<double>(6, 0));
  CHECK(vjp(first, xs, ts[0]).dxs[1].to_vector<double>() == std::vector<double>(3, 0));
  CHECK(jvp(first, xs, ts).dy.to_vector<double>() == std::vector<double>{2, 2});
  const Function linear = [](const Tensors& in) { return sum(in[0]); };
  CHECK(hvp(linear, xs, ts)[0].to_vector<double>() == std::vector<double>(2, 0));
  CHECK(hessian(linear, xs)[0][1].to_vector<double>() == std::vector<double>(6, 0));
  const Function constant = [](const Tensors&) { return ones({1}, DType::f64); };
  CHECK(jvp(constant, xs, ts).dy.to_vector<double>() == std::vector<double>{0});
  CHECK(jacobian(constant, xs)[0].to_vector<double>() == std::vector<double>(2, 0));
  CHECK(hvp(constant, xs, ts)[1].to_vector<double>() == std::vector<double>(3, 0));
  CHECK(hessian(constant, xs)[1][0].to_vector<double>() == std::vector<double>(6, 0));
  CHECK(vjp(constant, xs, ones({1}, DType::f64)).dxs[0].to_vector<double>() == std::vector<double>(2, 0));
}

TEST_CASE("derivatives: empty inputs and outputs, no inputs, scalars") {
  const Function square_all = [](const Tensors& in) { return in[0] * in[0]; };
  const Tensors none{zeros({0, 2}, DType::f64)};
  CHECK(jacobian(square_all, none)[0].shape() == Shape{0, 2, 0, 2});
  CHECK(jvp(square_all, none, none).dy.shape() == Shape{0, 2});
  CHECK(vjp(square_all, none, none[0]).dxs[0].shape() == Shape{0, 2});
  const Function total = [](const Tensors& in) { return sum(in[0] * in[0]); };
  CHECK(hessian(total, none)[0][0].shape() == Shape{0, 2, 0, 2});
  CHECK(hvp(total, none, none)[0].shape() == Shape{0, 2});
  CHECK(jacobian([](const Tensors&) { return scalar(1); }, {}).empty());
  CHECK(hessian(total, {scalar(3, DType::f64)})[0][0].item() == 2);
}

TEST_CASE("derivatives nest with create_graph: through inputs and through what fn uses besides") {
  Tensor w = tensor({2, 3}, DType::f64);
  w.requires_grad_();
  const Tensor x = tensor({5, 7}, DType::f64), one = ones({2}, DType::f64);
  const auto f = [&](const Tensor& a) { return a * a * a * w; };
  CHECK(grad(sum(jvp(f, x, one, {.create_graph = true}).dy), {w})[0].to_vector<double>() ==
        std::vector<double>{75, 147});  // 3 x^2
  CHECK(grad(sum(jacobian(f, x, {.create_graph = true})), {w})[0].to_vector<double>() == std::vector<double>{75, 147});
  CHECK(grad(sum(hvp([&](const Tensor& a) { return sum(f(a)); }, x, one, {.create_graph = true})), {w})[0]
            .to_vector<double>() == std::vector<double>{30, 42});  // 6 x
  // the second derivative as a jvp of a jvp, and the third as the Jacobian of that
  const auto first = [&](const Tensor& a) { return jvp(f, a, one, {.create_graph = true}).dy; };
  const auto second = [&](const Tensor& a) { return jvp(first, a, one, {.create_graph = true}).dy; };
  CHECK(second(x).to_vector<double>() == std::vector<double>{60, 126});
  CHECK(jacobian(second, x).to_vector<double>() == std::vector<double>{12, 0, 0, 18});
  CHECK_GRADIENTS(
      [&](const Tensors& in) {
        return jvp(kSines, at(), {in[0], in[1]}, {.create_graph = true}).dy;
      },
      {random_tensor({2, 3}, 8), random_tensor({3}, 9)});
}

TEST_CASE("derivatives work where recording is off, and leave no gradient behind") {
  no_grad guard;
  Tensor x = tensor({1, 2}, DType::f64);
  CHECK(jacobian([](const Tensor& a) { return a * a; }, x).to_vector<double>() == std::vector<double>{2, 0, 0, 4});
  CHECK_FALSE((recording() || x.requires_grad()));
}

TEST_CASE("derivatives: of a layer that routes, the choice held") {
  const Tensor x = random_tensor({4, 3}, 1), v = random_tensor({4, 3}, 2);
  const auto f = [](const Tensor& a) { return sum(square(top_k(a, 2, 1).values)); };
  const Tensor chosen = cast(dense(sum(one_hot(top_k(x, 2, 1).indices, 3), 1)), DType::f64);
  CHECK(difference(hvp(f, x, v), 2.0 * chosen * v) < 1e-15);
}

TEST_CASE("derivatives: error texts") {
  const Tensor x = zeros({2}, DType::f64);
  const auto same = [](const Tensors& in) { return in[0]; };
  CHECK_THROWS_WITH_AS(jacobian(same, {arange(0, 2)}), "jacobian: x must be a floating dtype; got i64", DTypeError);
  CHECK_THROWS_WITH_AS(jacobian([](const Tensors&) { return Tensor(); }, {x}),
                       "jacobian: fn must return a tensor; got an empty handle", Error);
  CHECK_THROWS_WITH_AS(vjp(same, {x}, zeros({3}, DType::f64)), "vjp: dy must have the shape of y; got dy [3] and y [2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(vjp(same, {x}, zeros({2})), "vjp: operands must have one dtype; got f64 [2] and f32 [2]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(jvp(same, {x, x}, {x}), "jvp: tangents must be one for each input; got 1 for 2", Error);
  CHECK_THROWS_WITH_AS(jvp(same, {x}, {zeros({1, 2}, DType::f64)}),
                       "jvp: tangents must be like the inputs; got f64 [1, 2] for input 0 f64 [2]", ShapeError);
  CHECK_THROWS_WITH_AS(hvp(same, {x}, {zeros({2})}), "hvp: vs must be like the inputs; got f32 [2] for input 0 f64 [2]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(hvp(same, {x}, {x}), "hvp: fn must return one element; got y f64 [2]", ShapeError);
  CHECK_THROWS_WITH_AS(hessian(same, {x}), "hessian: fn must return one element; got y f64 [2]", ShapeError);
  const Tensor deep = zeros({1, 1, 1, 1, 1, 1, 1}, DType::f64);
  CHECK_THROWS_WITH_AS(jacobian(same, {deep}),
                       "jacobian: the result must have at most 12 axes; got 7 of [1, 1, 1, 1, 1, 1, 1] and 7 of "
                       "[1, 1, 1, 1, 1, 1, 1]",
                       ShapeError);
}

TEST_CASE("vjp: without create_graph its results are values, also where dy has a graph") {
  const Tensor dy = ones({2}, DType::f64).requires_grad_();
  const VjpOfOne r = vjp([](const Tensor& x) { return x; }, ones({2}, DType::f64), dy);
  CHECK_FALSE(r.dx.requires_grad());
}

TEST_CASE("jacobian: of one element by as many axes as there can be; an empty y keeps the dtype of x") {
  Shape shape(12, 1);
  shape[11] = 3;
  const Tensor x = random_tensor(shape, 1);
  const Tensor j = jacobian([](const Tensor& a) { return sum(a * a); }, x);
  CHECK_EQ(j.shape(), shape);
  CHECK_LE(difference(j, x * 2.0), 1e-14);
  const Tensor none = jacobian(
      [](const Tensor& a) {
        return cast(slice(a, 0, {0, 0}), DType::f32);
      },
      ones({3}, DType::f64));
  CHECK_EQ(none.shape(), Shape{0, 3});
  CHECK_EQ(none.dtype(), DType::f64);
}

TEST_CASE("jvp: of a function whose output is integer is zero") {
  const auto r = jvp([](const Tensor& x) { return argmax(x, 0); }, tensor({1, 3}, DType::f64), ones({2}, DType::f64));
  CHECK_EQ(r.y.item(), 1);
  CHECK_EQ(r.dy.item(), 0);
}
