// Ops with several outputs, and gradients of several tensors at once.
#include <doctest/doctest.h>

#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/concat.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/unary.h"

using namespace moegrad;

namespace {

using Doubles = std::vector<double>;
Tensor leaf(const Literal& values) {
  Tensor x = tensor(values, DType::f64);
  return x.requires_grad_();
}
Doubles values(const Tensor& x) { return x.to_vector<double>(); }

int rules = 0;

// (a b, a + b) as one node.
std::vector<Tensor> product_and_sum(const Tensor& a, const Tensor& b) {
  std::vector<Tensor> ys;
  {
    no_grad guard;
    ys = {a * b, a + b};
  }
  const Tensor inputs[] = {a, b};
  return record("product_and_sum", ys, inputs, saves(kX0 | kX1), [](const GradArgs& g) -> Grads {
    ++rules;
    Tensor da = zeros(g.shape(0), g.dtype(0), g.device()), db = zeros(g.shape(1), g.dtype(1), g.device());
    if (g.dys(0)) da = da + g.dys(0) * g.in(1), db = db + g.dys(0) * g.in(0);
    if (g.dys(1)) da = da + g.dys(1), db = db + g.dys(1);
    return {da, db};
  });
}

}  // namespace

TEST_CASE("several outputs: one node, whose rule runs once with what reached each of them") {
  const Tensor a = leaf({2, 3}), b = leaf({5, 7});
  const auto y = product_and_sum(a, b);
  CHECK((y[0].body().node.get() == y[1].body().node.get() && y[1].body().output == 1));
  rules = 0;
  const auto g = grad(sum(y[0] * y[1]), {a, b, y[0], y[1]});
  CHECK(rules == 1);
  CHECK((values(g[0]) == Doubles{7 * 5 + 10, 10 * 7 + 21} && values(g[1]) == Doubles{7 * 2 + 10, 10 * 3 + 21}));
  CHECK((values(g[2]) == values(y[1]) && values(g[3]) == values(y[0])));
}

TEST_CASE("several outputs: an output without a gradient is empty for the rule") {
  const Tensor a = leaf({2, 3}), b = leaf({5, 7});
  CHECK(values(grad(sum(product_and_sum(a, b)[1]), {a})[0]) == Doubles{1, 1});
  CHECK(values(grad(sum(product_and_sum(a, b)[0]), {a})[0]) == Doubles{5, 7});
  product_and_sum(a, b)[1][0].backward();
  CHECK(values(b.grad()) == Doubles{1, 0});
}

TEST_CASE("several outputs: second order") {
  const Tensor a = leaf({2, 3}), b = leaf({5, 7});
  const auto y = product_and_sum(a, b);
  const Tensor da = grad(sum(y[0] * y[1]), {a}, {.create_graph = true})[0];  // d (a^2 b + a b^2)/da = 2 a b + b^2
  CHECK(values(grad(sum(da), {b})[0]) == Doubles{2 * 2 + 2 * 5, 2 * 3 + 2 * 7});
}

TEST_CASE("several outputs: a released graph, and outputs that are not the op's own") {
  const Tensor a = leaf({2, 3}), b = leaf({5, 7});
  const auto y = product_and_sum(a, b);
  sum(y[0]).backward();
  CHECK_THROWS_WITH_AS(
      sum(y[1]).backward(),
      "product_and_sum: backward needs values that an earlier backward released; pass retain_graph to that one",
      GradError);
  const auto rule = [](const GradArgs&) -> Grads { return {}; };
  const Tensor one = exp(a.detach());
  CHECK_THROWS_WITH_AS(
      record("twice", std::vector<Tensor>{one, one}, std::span<const Tensor>(&a, 1), saves(kNone), rule),
      "twice: an op must return tensors of its own; got one that is two of its outputs", InternalError);
  CHECK_THROWS_WITH_AS(record("reads", std::vector<Tensor>{exp(a.detach()), exp(a.detach())},
                              std::span<const Tensor>(&a, 1), saves(kY), rule),
                       "reads: only an op with one output can declare kY; use extra results", InternalError);
  no_grad guard;
  CHECK_FALSE(product_and_sum(a, b)[1].requires_grad());
}

TEST_CASE("grad of several tensors at once is the sum of their gradients, in one walk") {
  const Tensor x = leaf({2, 3});
  const Tensor h = exp(x), y = h * h, z = sum(h);
  const std::vector<Tensor> ys{y, z, h, h}, xs{x, h};
  const std::vector<Tensor> dys{tensor({1, 10}, DType::f64), Tensor{}, ones({2}, DType::f64), ones({2}, DType::f64)};
  const auto g = grad(ys, xs, dys);
  const Doubles e = values(h);
  CHECK(values(g[1]) == Doubles{2 * e[0] + 3, 20 * e[1] + 3});
  CHECK(values(g[0])[1] == doctest::Approx(e[1] * (20 * e[1] + 3)));
  const std::vector<Tensor> scalars{sum(x), sum(x * x)}, only{x};
  CHECK(values(grad(scalars, only, {})[0]) == Doubles{5, 7});
}

TEST_CASE("grad of several tensors: one dy for each") {
  const Tensor x = leaf({2, 3});
  const std::vector<Tensor> ys{exp(x), sum(x)}, xs{x}, dys{ones({2}, DType::f64)};
  CHECK_THROWS_WITH_AS(grad(ys, xs, dys), "grad: there must be one dy per y; got 1 for 2", GradError);
}

TEST_CASE("split is one node: its gradient joins those of the parts, where the parts without one are zeros") {
  const Tensor x = leaf({1, 2, 3, 4, 5});
  const auto parts = split(x, {2, 0, 3}, 0);
  CHECK(parts[0].body().node.get() == parts[2].body().node.get());
  CHECK(values(grad(sum(parts[2] * parts[2]), {x})[0]) == Doubles{0, 0, 6, 8, 10});
  const auto again = split(x, {0, 5}, 0);
  CHECK(values(grad(sum(again[1]), {x})[0]) == Doubles{1, 1, 1, 1, 1});
  memory::AllocationLog log;
  const auto halves = split(x, {2, 3}, 0);
  grad(std::vector<Tensor>{sum(halves[0]), sum(halves[1])}, std::vector<Tensor>{x}, {});
  CHECK(log.count(5) == 1);
}
