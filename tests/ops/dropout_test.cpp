#include "ops/dropout.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::function<Tensor(Args)> naive(double p, const Draw& draw) {
  return [=](Args in) {
    const u32 step = static_cast<u32>(draw.step.item());
    Tensor y = empty(in[0].shape(), DType::f64);
    i64 i = 0;
    for_each_index(in[0].shape(), [&](const std::vector<i64>& at) {
      const bool kept = static_cast<double>(random::uniform<float>(draw.seed, draw.number, step, i++)) >= p;
      set_value(y, at, kept ? value_at(in[0], at) / (1 - p) : 0);
    });
    return y;
  };
}

}  // namespace

TEST_CASE("dropout: forward, gradient, second order") {
  Random random(7);
  random.advance();
  for (const Shape& shape : {Shape{3, 5}, Shape{1}, Shape{}, Shape{0, 4}, Shape{2, 3, 211}})
    for (const double p : {0.0, 0.1, 0.5, 0.999}) {
      const Draw draw = random.next();
      check_op({.name = "dropout",
                .op = [&](Args x) { return dropout(x[0], p, draw); },
                .reference = naive(p, draw),
                .inputs = {shape}});
    }
}

TEST_CASE("dropout: a product of dropouts has the gradient of a product") {
  Random random(1);
  const Draw a = random.next(), b = random.next();
  check_op({.name = "dropout",
            .op = [&](Args x) { return dropout(x[0] * dropout(x[0], 0.3, a), 0.5, b); },
            .inputs = {{6, 7}}});
}

TEST_CASE("dropout: p = 0 keeps x itself, p = 1 keeps nothing, not even infinities") {
  Random random(3);
  Tensor x = full({100}, HUGE_VAL);
  x.requires_grad_();
  CHECK(dropout(x, 0, random.next()).ref() == x.ref());
  CHECK(dropout(x, 0, {}).ref() == x.ref());
  const Tensor y = dropout(x, 1, random.next());
  CHECK_EQ(difference(y, zeros({100})), 0);
  CHECK_EQ(difference(grad(y, {x}, ones({100}))[0], zeros({100})), 0);
}

TEST_CASE("dropout: the share of zeros is p, another draw or step drops others") {
  Random random(5);
  const Tensor x = ones({100000});
  const auto kept_in = [](const Tensor& y) { return sum(cast(y, DType::boolean)).item(); };
  const Draw draw = random.next();
  const Tensor y = dropout(x, 0.3, draw);
  // Standard deviation of the share: sqrt(0.3 0.7 / 1e5) = 0.0014
  CHECK_LE(std::abs(kept_in(y) / 1e5 - 0.7), 0.006);
  CHECK_EQ(difference(dropout(x, 0.3, draw), y), 0);
  CHECK_GT(difference(dropout(x, 0.3, random.next()), y), 0);
  random.advance();
  CHECK_GT(difference(dropout(x, 0.3, random.next()), y), 0);
  CHECK_EQ(difference(dropout(x, 0.3, draw), y), 0);  // the old draw keeps its step
}

TEST_CASE("dropout: the same bits for any number of threads, in any piece") {
  Random random(9);
  const Draw draw = random.next();
  const Tensor x = random_tensor({70001}, 1, -1, 1, DType::f32);
  const int before = num_threads();
  set_num_threads(1);
  const Tensor one = dropout(x, 0.4, draw);
  set_num_threads(3);
  CHECK_EQ(difference(dropout(x, 0.4, draw), one), 0);
  set_num_threads(before);
  const DeviceScope on_the_cpu(Device::cpu);
  const Tensor in = x.to(Device::cpu), out = one.to(Device::cpu);
  const Draw same{draw.seed, draw.number, draw.step.to(Device::cpu)};  // the plan points into it
  const DropoutPlan plan = plan_dropout("dropout", 0.4, same);
  for (const i64 first : {0, 1, 3, 255, 256, 1001})
    for (const i64 n : {1, 2, 5, 300}) {
      std::vector<float> piece(static_cast<std::size_t>(n));
      cpu::dropout_range(in.data<float>() + first, piece.data(), first, n, plan);
      CHECK(std::equal(piece.begin(), piece.end(), out.data<float>() + first));
    }
}

TEST_CASE("dropout: errors name the rule and the value") {
  CHECK_THROWS_WITH_AS(dropout(zeros({2}), 1.5, Random(1).next()), "dropout: p must be in [0, 1]; got p = 1.5", Error);
  CHECK_THROWS_WITH_AS(dropout(zeros({2}), std::nan(""), Random(1).next()), "dropout: p must be in [0, 1]; got p = nan",
                       Error);
  CHECK_THROWS_WITH_AS(dropout(zeros({2}), 0.5, {}), "dropout: the draw must be one of a Random's; got an empty one",
                       Error);
  CHECK_THROWS_WITH_AS(dropout(zeros({2}, DType::i64), 0.5, Random(1).next()),
                       "dropout: x must be f32, f64 or bf16; got i64", DTypeError);
}
