#include "core/autograd.h"

#include <doctest/doctest.h>

#include <vector>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "ops/views.h"

using namespace moegrad;

namespace {

using Doubles = std::vector<double>;

Tensor leaf(const Tensor& values) {
  Tensor x = values;
  return x.requires_grad_();
}
Tensor leaf(const Literal& values) { return leaf(tensor(values, DType::f64)); }
Doubles values(const Tensor& x) { return x.to_vector<double>(); }

}  // namespace

TEST_CASE("grad: contributions of every use add up") {
  const Tensor x = leaf({2, 3});
  const Tensor h = x * x;
  const Tensor y = sum(h * h + h + x);  // x^4 + x^2 + x
  CHECK(values(grad(y, {x})[0]) == Doubles{4 * 8 + 2 * 2 + 1, 4 * 27 + 2 * 3 + 1});
}

TEST_CASE("grad: sums back to the shape of a broadcast input") {
  const Tensor row = leaf({1, 2, 3}), column = leaf({{1}, {2}}), one = leaf(4);
  const auto g = grad(sum(row * column * one), {row, column, one});
  CHECK((g[0].shape() == Shape{3} && g[1].shape() == Shape{2, 1} && g[2].shape() == Shape{}));
  CHECK(values(g[0]) == Doubles{12, 12, 12});
  CHECK(values(g[1]) == Doubles{24, 24});
  CHECK(values(g[2]) == Doubles{18});
}

TEST_CASE("grad: create_graph gives gradients of gradients, here of x^4 + 2 x^3 y") {
  const Tensor x = leaf(3), y = leaf(5);
  const Tensor f = x * x * x * x + 2.0 * (x * x * x) * y;
  const GradOptions graph{.create_graph = true};
  const Tensor fx = grad(f, {x}, graph)[0];
  CHECK(fx.item() == 4 * 27 + 6 * 9 * 5);
  const auto second = grad(fx, {x, y}, graph);
  CHECK(second[0].item() == 12 * 9 + 12 * 3 * 5);
  CHECK(second[1].item() == 6 * 9);
  const auto third = grad(second[0], {x, y}, graph);
  CHECK(third[0].item() == 24 * 3 + 12 * 5);
  CHECK(third[1].item() == 12 * 3);
  CHECK(grad(third[0], {x})[0].item() == 24);
}

TEST_CASE("grad: without create_graph the result is in no graph") {
  const Tensor x = leaf(3);
  CHECK_FALSE(grad(x * x * x, {x})[0].requires_grad());
  CHECK(grad(x * x * x, {x}, {.create_graph = true})[0].requires_grad());
  CHECK(recording());
}

TEST_CASE("grad: with respect to results of ops, and to y itself") {
  const Tensor x = leaf(3);
  const Tensor h = x * x;
  const Tensor y = h * h;
  const auto g = grad(y, {h, x, y, h}, {.retain_graph = true});
  CHECK((g[0].item() == 18 && g[1].item() == 108 && g[2].item() == 1 && g[3].item() == 18));
  CHECK(grad(y, {h})[0].item() == 18);
  CHECK(grad(h, {x})[0].item() == 6);  // asking for h did not go behind h
}

TEST_CASE("grad: zeros where y does not depend on x, also on a younger one") {
  const Tensor x = leaf({1, 2}), other = leaf({{1, 2, 3}});
  const Tensor y = sum(x);
  const Tensor younger = leaf({5});
  const auto g = grad(y, {other, younger, x});
  CHECK((g[0].shape() == Shape{1, 3} && values(g[0]) == Doubles{0, 0, 0}));
  CHECK(values(g[1]) == Doubles{0});
  CHECK(values(g[2]) == Doubles{1, 1});
}

TEST_CASE("grad: a given dy, of y's shape and dtype") {
  const Tensor x = leaf({1, 2, 3});
  const Tensor y = x * x;
  CHECK(values(grad(y, {x}, tensor({1, 10, 100}, DType::f64), {.retain_graph = true})[0]) == Doubles{2, 40, 600});
  CHECK_THROWS_WITH_AS(grad(y, {x}), "grad: y must have one element, or dy must be given; got y f64 [3]", GradError);
  CHECK_THROWS_WITH_AS(grad(y, {x}, ones({1}, DType::f64)), "grad: dy must have the shape of y; got dy [1] and y [3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(grad(y, {x}, ones({3})), "grad: operands must have one dtype; got f64 [3] and f32 [3]",
                       DTypeError);
  CHECK(values(grad(sum(zeros({0}, DType::f64) * leaf(1.0)), {x})[0]) == Doubles{0, 0, 0});
}

TEST_CASE("grad: what is in no graph is an error that says so") {
  const Tensor x = leaf({1, 2}), plain = zeros({2}, DType::f64);
  CHECK_THROWS_WITH_AS(grad(sum(plain), {x}), "grad: y must depend on a tensor that requires a gradient; got y f64 []",
                       GradError);
  CHECK_THROWS_WITH_AS(grad(sum(x), {plain}), "grad: every x must require a gradient; got x f64 [2]", GradError);
  CHECK_THROWS_WITH_AS(plain.backward(), "backward: y must depend on a tensor that requires a gradient; got y f64 [2]",
                       GradError);
  CHECK_THROWS_WITH_AS(grad(Tensor(), {x}),
                       "tensor: the handle must hold a tensor; got an empty (default constructed) Tensor", Error);
  CHECK_THROWS_WITH_AS(grad(sum(x), {Tensor()}),
                       "tensor: the handle must hold a tensor; got an empty (default constructed) Tensor", Error);
}

TEST_CASE("a second backward through the same graph names the op whose values are gone") {
  const Tensor x = leaf({1, 2});
  const Tensor y = sum(exp(x) * x);
  y.backward();
  CHECK_THROWS_WITH_AS(y.backward(),
                       "sum: backward needs values that an earlier backward released; pass retain_graph to that one",
                       GradError);
  const Tensor z = exp(x);
  backward(z, ones({2}, DType::f64), {.retain_graph = true});
  backward(z, ones({2}, DType::f64));
  CHECK_THROWS_WITH_AS(backward(z, ones({2}, DType::f64)),
                       "exp: backward needs values that an earlier backward released; pass retain_graph to that one",
                       GradError);
}

TEST_CASE("backward: leaves accumulate, zero_grad forgets") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4});
  CHECK_FALSE(x.grad());
  sum(x * w).backward();
  sum(x * w).backward();
  CHECK((values(x.grad()) == Doubles{6, 8} && values(w.grad()) == Doubles{2, 4}));
  CHECK_FALSE(x.grad().requires_grad());
  x.zero_grad();
  CHECK_FALSE(x.grad());
  CHECK(values(w.grad()) == Doubles{2, 4});
  CHECK_FALSE(grad(sum(x * w), {x})[0].requires_grad());
  CHECK_FALSE(x.grad());  // grad() leaves .grad alone
}

TEST_CASE("backward: the gradient of a leaf is nobody else's, and contiguous") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), c = leaf({{1, 2}, {3, 4}});
  const Tensor dy = tensor({5, 6}, DType::f64);
  backward(a + b, dy);  // one dy for both
  a.grad().assign(zeros({2}, DType::f64));
  CHECK((values(b.grad()) == Doubles{5, 6} && values(dy) == Doubles{5, 6}));
  sum(c).backward();  // an expanded 1
  CHECK(c.grad().is_contiguous());
  c.grad().assign(full({2, 2}, 3, DType::f64));
  CHECK(values(c.grad()) == Doubles{3, 3, 3, 3});
  c.zero_grad();
  sum(transpose(c) * tensor({{1, 2}, {3, 4}}, DType::f64)).backward();
  CHECK((c.grad().is_contiguous() && values(c.grad()) == Doubles{1, 3, 2, 4}));
}

TEST_CASE("backward: create_graph is for grad, because a leaf that holds its own graph is never freed") {
  const Tensor x = leaf(2);
  CHECK_THROWS_WITH_AS(backward(x * x, {.create_graph = true}),
                       "backward: .grad holds values without a graph; use grad(y, xs, {.create_graph = true})",
                       GradError);
}

TEST_CASE("leaves: requires_grad_ on and off, and what is no leaf") {
  Tensor x = zeros({2});
  CHECK_FALSE(x.requires_grad());
  CHECK(x.requires_grad_().requires_grad());
  Tensor y = x * 2.0;
  CHECK_THROWS_WITH_AS(y.requires_grad_(),
                       "requires_grad_: x must not be the result of an op; got mul f32 [2] (detach it first)",
                       GradError);
  CHECK_THROWS_WITH_AS(y.grad(), "grad: x must be a leaf (see requires_grad_); got the result of an op f32 [2]",
                       GradError);
  CHECK_THROWS_WITH_AS(zeros({2}).zero_grad(),
                       "zero_grad: x must be a leaf (see requires_grad_); got a tensor without gradient f32 [2]",
                       GradError);
  x.requires_grad_(false);
  CHECK_FALSE(x.requires_grad());
  CHECK_THROWS_WITH_AS(arange(0, 3).requires_grad_(), "requires_grad_: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(zeros({2}, DType::boolean).requires_grad_(),
                       "requires_grad_: x must be f32, f64 or bf16; got bool", DTypeError);
}

TEST_CASE("no_grad: nothing is recorded in its scope, also when it ends by an exception") {
  const Tensor x = leaf({1, 2});
  {
    no_grad guard;
    CHECK_FALSE(recording());
    CHECK_FALSE((x * x).requires_grad());
    Recording on(true);
    CHECK((x * x).requires_grad());
  }
  CHECK(recording());
  try {
    no_grad guard;
    throw Error("out");
  } catch (const Error&) {
  }
  CHECK(recording());
}

TEST_CASE("values without a gradient cut the graph: detach, integers, comparisons") {
  const Tensor x = leaf({1.5, 2.5});
  CHECK(values(grad(sum(x * x.detach()), {x})[0]) == Doubles{1.5, 2.5});
  CHECK_FALSE(cast(x, DType::i64).requires_grad());
  CHECK(values(grad(sum(x * cast(cast(x, DType::i64), DType::f64)), {x})[0]) == Doubles{1, 2});
}

TEST_CASE("f32 and f64: the same gradients, each in its own dtype") {
  const auto gradient = [](DType t) {
    const Tensor x = leaf(linspace(-1, 1, 33, t));
    const Tensor g = grad(sum(tanh(x * x) / (1.0 + exp(x))), {x})[0];
    CHECK(g.dtype() == t);
    return values(g);
  };
  const Doubles narrow = gradient(DType::f32), wide = gradient(DType::f64);
  for (std::size_t i = 0; i < wide.size(); ++i) CHECK(narrow[i] == doctest::Approx(wide[i]).epsilon(1e-5));
  const Tensor x = leaf(tensor({1, 2}));  // through a cast: back in the leaf's dtype
  CHECK(grad(sum(cast(x, DType::f64)), {x})[0].dtype() == DType::f32);
}
