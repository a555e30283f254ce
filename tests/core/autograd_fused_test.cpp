// fused(): a kernel for the first gradient, a composite twin for the higher ones.
#include <doctest/doctest.h>

#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/unary.h"

using namespace moegrad;

namespace {

using Doubles = std::vector<double>;

Tensor leaf(const Literal& values) {
  Tensor x = tensor(values, DType::f64);
  return x.requires_grad_();
}
Doubles values(const Tensor& x) { return x.to_vector<double>(); }

int kernel_calls = 0, twin_calls = 0;

// y = a^2 b, with a factor in the kernel's gradient that makes it wrong.
Tensor square_mul(const Tensor& a, const Tensor& b, double factor = 1) {
  const auto twin = [](std::span<const Tensor> x) {
    ++twin_calls;
    return x[0] * x[0] * x[1];
  };
  Tensor y;
  {
    no_grad guard;
    y = a * a * b;
  }
  return fused(
      "square_mul", y, {a, b}, saves(kNone),
      [factor](const GradArgs& g) -> Grads {
        ++kernel_calls;
        CHECK_FALSE(recording());
        return {g.dy * g.in(0) * g.in(1) * (2 * factor), g.dy * g.in(0) * g.in(0)};
      },
      twin);
}

}  // namespace

TEST_CASE("fused: the kernel without a graph, the twin with one, and the same numbers") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  kernel_calls = twin_calls = 0;
  const auto kernel = grad(sum(square_mul(a, b)), {a, b});
  CHECK((kernel_calls == 1 && twin_calls == 0));
  const auto twin = grad(sum(square_mul(a, b)), {a, b}, {.create_graph = true});
  CHECK((kernel_calls == 1 && twin_calls == 1));
  CHECK((values(kernel[0]) == Doubles{6, 16} && values(kernel[1]) == Doubles{1, 4}));
  CHECK((values(twin[0]) == values(kernel[0]) && values(twin[1]) == values(kernel[1])));
  CHECK((!kernel[0].requires_grad() && twin[0].requires_grad()));
}

TEST_CASE("fused: comparing kernel and twin finds a wrong kernel") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor y = sum(square_mul(a, b, 1.5));
  const auto kernel = grad(y, {a}, {.retain_graph = true}), twin = grad(y, {a}, {.create_graph = true});
  CHECK(values(kernel[0]) != values(twin[0]));
}

TEST_CASE("fused: higher derivatives come from the twin") {
  const Tensor a = leaf(2), b = leaf(5);
  const GradOptions graph{.create_graph = true};
  const Tensor da = grad(square_mul(a, b), {a}, graph)[0];
  const auto second = grad(da, {a, b}, graph);
  CHECK((da.item() == 20 && second[0].item() == 10 && second[1].item() == 4));
  CHECK(grad(second[0], {b})[0].item() == 2);
}

TEST_CASE("fused: inputs that depend on each other get partial derivatives only") {
  const Tensor x = leaf({1, 2});
  const auto through = [&](GradOptions options) {
    const Tensor b = 3.0 * x;
    return grad(sum(square_mul(x, b)), {x, b}, options);  // 3 x^3: dy/dx = 9 x^2, of which b carries 3 x^2
  };
  for (bool create_graph : {false, true}) {
    const auto g = through({.create_graph = create_graph});
    CHECK(values(g[0]) == Doubles{9, 36});
    CHECK(values(g[1]) == Doubles{1, 4});
  }
  const Tensor same = grad(sum(square_mul(x, x)), {x}, {.create_graph = true})[0];  // x^3 through both inputs
  CHECK(values(same) == Doubles{3, 12});
  CHECK(values(grad(sum(same), {x})[0]) == Doubles{6, 12});
  const Tensor first = through({.create_graph = true})[0];
  CHECK(values(grad(sum(first), {x})[0]) == Doubles{18, 36});
}

TEST_CASE("fused: inputs without a gradient, and empty handles") {
  const Tensor a = leaf({1, 2}), b = tensor({3, 4}, DType::f64);
  CHECK(values(grad(sum(square_mul(a, b)), {a}, {.create_graph = true})[0]) == Doubles{6, 16});
  const Tensor y = fused(
      "maybe_bias", a.detach() * 2.0, {a, Tensor{}}, saves(kNone),
      [](const GradArgs& g) -> Grads { return {g.dy * 2.0}; },
      [](std::span<const Tensor> x) {
        CHECK_FALSE(x[1]);
        return x[0] * 2.0;
      });
  CHECK(values(grad(sum(y), {a}, {.create_graph = true})[0]) == Doubles{2, 2});
}

TEST_CASE("fused: two of them in a row, and a graph kept for both orders") {
  const Tensor x = leaf(2);
  const Tensor y = square_mul(square_mul(x, x), exp(x));  // x^6 e^x
  const Tensor first = grad(y, {x}, {.create_graph = true})[0];
  const double e = exp(x).item();
  CHECK(first.item() == doctest::Approx((6 * 32 + 64) * e));
  CHECK(grad(first, {x})[0].item() == doctest::Approx((30 * 16 + 12 * 32 + 64) * e));
}
