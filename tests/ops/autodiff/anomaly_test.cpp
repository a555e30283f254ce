#include "ops/autodiff/anomaly.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/context.h"
#include "ops/autodiff/checkpoint.h"
#include "ops/autodiff/describe_op.h"
#include "ops/ops.h"

using namespace moegrad;

namespace {
Tensor leaf(const Literal& values, const char* label = "") {
  Tensor x = tensor(values, DType::f64);
  x.requires_grad_();
  x.set_name(label);
  return x;
}
}  // namespace

TEST_CASE("anomaly: the first value that is not finite is named with its op, attributes, operands and element") {
  const Tensor x = leaf({{1, 2}, {0, -1}});
  AnomalyMode scope;
  CHECK_THROWS_WITH_AS(sum(log(x)),
                       "anomaly: values must be finite; got -inf at element 2 of the output of log(f64 [2, 2])",
                       AnomalyError);
  CHECK_THROWS_WITH_AS(softmax(log(square(x) - 5.0), -1),
                       "anomaly: values must be finite; got nan at element 0 of the output of log(f64 [2, 2])",
                       AnomalyError);
  const Tensor big = full({2}, 3e38);
  CHECK_THROWS_WITH_AS(
      cumsum(big, 0),
      "anomaly: values must be finite; got inf at element 1 of the output of cumsum(f32 [2]; axis = 0, "
      "reverse = false, exclusive = false)",
      AnomalyError);
  CHECK(std::isfinite(sum(exp(x)).item()));
}

TEST_CASE("anomaly: a value that came in is said to be the input's, by name where it has one") {
  const double nan = std::nan("");
  const Tensor x = leaf({1, 2}), w = leaf({nan, 1}, "head.weight");
  AnomalyMode scope;
  CHECK_THROWS_WITH_AS(x * w,
                       "anomaly: values must be finite; got nan at element 0 of input 1 (parameter 'head.weight') of "
                       "mul(f64 [2], f64 [2])",
                       AnomalyError);
  no_grad guard;
  CHECK_THROWS_WITH_AS(exp(tensor({1, nan})),
                       "anomaly: values must be finite; got nan at element 1 of input 0 of exp(f32 [2])", AnomalyError);
}

TEST_CASE("anomaly: in a gradient it names the op whose rule made it, and which input's gradient it is") {
  const Tensor x = leaf({4, 0}), w = leaf({1, 1});
  AnomalyMode scope;
  const Tensor y = w * sqrt(x);
  CHECK_THROWS_WITH_AS(
      sum(y).backward(),
      "anomaly: values must be finite; got inf at element 1 of the gradient of input 0 of sqrt(f64 [2])", AnomalyError);
  CHECK_THROWS_WITH_AS(
      grad(sum(sqrt(x) * 0.0), {x}, {.create_graph = true}),
      "anomaly: values must be finite; got nan at element 1 of the gradient of input 0 of sqrt(f64 [2])", AnomalyError);
  CHECK_THROWS_WITH_AS(
      grad(exp(x), {x}, tensor({std::nan(""), 1}, DType::f64)),
      "anomaly: values must be finite; got nan at element 0 of the gradient that came to the output of exp(f64 [2])",
      AnomalyError);
}

TEST_CASE("anomaly: names the layer that called the op, forward and backward") {
  const Tensor x = leaf({-1, 4}), zero = leaf({0, 4});
  Context context;
  AnomalyMode scope;
  const auto layer = [&](const Tensor& in) {
    Inside block(context, "blocks", 3);
    Inside here(context, "attention");
    return sqrt(in);
  };
  CHECK_THROWS_WITH_AS(layer(x),
                       "anomaly: values must be finite; got nan at element 0 of the output of sqrt(f64 [2]), in layer "
                       "'blocks.3.attention'",
                       AnomalyError);
  CHECK(NameScope::current() == "");
  const Tensor loss = sum(layer(zero));
  CHECK_THROWS_WITH_AS(loss.backward(),
                       "anomaly: values must be finite; got inf at element 0 of the gradient of input 0 of sqrt(f64 "
                       "[2]), in layer 'blocks.3.attention'",
                       AnomalyError);
}

TEST_CASE("anomaly: inside a checkpoint the op and the parameter are named, not the checkpoint") {
  const Tensor x = leaf({1, 2}), w = leaf({0, 4}, "gate.weight");
  AnomalyMode scope;
  const Tensor y = checkpoint([&](const Tensor& in) { return in * sqrt(w); }, x);
  CHECK_THROWS_WITH_AS(sum(y).backward(),
                       "anomaly: values must be finite; got inf at element 0 of the gradient of input 0 (parameter "
                       "'gate.weight') of sqrt(f64 [2])",
                       AnomalyError);
}

TEST_CASE("anomaly: infinities can be allowed, and integers and masks are none of its business") {
  const Tensor x = leaf({{1, 2}, {3, 4}});
  AnomalyMode scope({.infinities = false});
  const Tensor mask = tril(ones({2, 2}, DType::f64));
  const Tensor y = softmax(where(gt(mask, scalar(0, DType::f64)), x, scalar(-INFINITY, DType::f64)), -1);
  sum(square(y)).backward();
  CHECK(x.grad());
  CHECK_THROWS_WITH_AS(log(neg(x)),
                       "anomaly: values must be finite; got nan at element 0 of the output of log(f64 [2, 2])",
                       AnomalyError);
  CHECK(sum(gt(x, x)).item() == 0);
}

TEST_CASE("anomaly: a several-output op, an empty tensor, and nothing outside the scope") {
  const Tensor x = leaf({1, INFINITY, 3});
  CHECK_NOTHROW(log(neg(x)));
  AnomalyMode scope;
  CHECK_NOTHROW(exp(zeros({0, 3})));
  CHECK_THROWS_WITH_AS(
      split(x, {1, 2}, 0),
      "anomaly: values must be finite; got inf at element 1 of input 0 of split(f64 [3]; axis = 0, 2 parts)",
      AnomalyError);
  const Tensor ok = leaf({1, 2, 3});
  const auto parts = split(ok, {1, 2}, 0);
  CHECK_THROWS_WITH_AS(grad(parts[1], {ok}, tensor({1, INFINITY}, DType::f64)),
                       "anomaly: values must be finite; got inf at element 1 of the gradient that came to the output 1 "
                       "of split(f64 [3]; axis = 0, 2 parts)",
                       AnomalyError);
}

TEST_CASE("describe_op: an operand that was not given is none") {
  const Tensor x = ones({2, 3}, DType::f64).requires_grad_();
  const Tensor y = record("two", zeros({2, 3}, DType::f64), {x, Tensor{}}, saves(kNone),
                          [](const GradArgs& g) -> Grads { return {g.dy}; });
  CHECK(describe_op(*y.body().node) == "two(f64 [2, 3], none)");
}
