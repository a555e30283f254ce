#include "nn/moe/router_gate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/module.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("router gate: first logits are small, so that no softmax begins saturated") {
  for (const bool columns : {false, true}) {
    Random random(1);
    Init init(random, DType::f64);
    const RouterGate gate(256, 16, {.columns = columns}, init);
    const Tensor logits = gate.forward(random_normal({4, 50, 256}, 0, 1, random.next(), DType::f64));
    // Weights uniform on +-1/sqrt(D) have variance 1/(3 D): logits of unit inputs have deviation 1/sqrt(3).
    const double deviation = std::sqrt(mean(square(logits)).item());
    CHECK_EQ(deviation, doctest::Approx(1 / std::sqrt(3.0)).epsilon(0.05));
  }
}

TEST_CASE("router gate: x w^T, by rows or by columns, in f32 or wider") {
  Random random(1);
  Init init(random, DType::bf16);
  const Tensor x = random_tensor({2, 3, 4}, 2, -1, 1, DType::bf16);
  RouterGate rows(4, 5, {.bias = true}, init), columns(4, 5, {.bias = true, .columns = true}, init);
  REQUIRE(rows.weight.shape() == Shape{5, 4});
  REQUIRE(columns.weight.shape() == Shape{4, 5});
  columns.weight = contiguous(transpose(rows.weight.detach()));
  columns.bias = rows.bias;
  const Tensor y = rows.forward(x);
  CHECK(y.dtype() == DType::f32);
  CHECK_LE(difference(columns.forward(x), y), 1e-6);
  for_each_index({2, 3, 5}, [&](const std::vector<i64>& at) {
    double want = value_at(rows.bias, {at[2]});
    for (i64 d = 0; d < 4; ++d) want += value_at(x, {at[0], at[1], d}) * value_at(rows.weight, {at[2], d});
    CHECK_EQ(value_at(y, at), doctest::Approx(want).epsilon(1e-5));
  });
}
