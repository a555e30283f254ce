#include "ops/autodiff/cost.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/autodiff/checkpoint.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Tensor leaf(const Shape& shape, u64 seed) { return random_tensor(shape, seed).requires_grad_(); }
Cost cost_of(const std::function<void()>& run) {
  CostLedger ledger;
  run();
  return ledger.total();
}

}  // namespace

TEST_CASE("cost: a product forward and backward, by hand") {
  const Tensor x = leaf({5, 3}, 1), w = leaf({3, 7}, 2);
  CostLedger ledger;
  const Tensor y = matmul(x, w);
  CHECK_EQ(ledger.total().flops, 2 * 5 * 3 * 7);
  CHECK_EQ(ledger.total().bytes, 8 * (5 * 3 + 3 * 7 + 5 * 7));
  grad(y, {x, w}, ones({5, 7}, DType::f64));
  CHECK_EQ(ledger.by_op().at("matmul").flops, 3 * 2 * 5 * 3 * 7);
  CHECK_EQ(ledger.by_op().at("matmul").calls, 3);
}

TEST_CASE("cost: a one-hot costs its rows, not its classes") {
  const Tensor x = leaf({1, 1000, 4}, 1);
  const Tensor dispatch = one_hot(tensor({{5, 999, 0}}, DType::i64), 1000);  // [1, 3, 1000]
  CHECK_EQ(cost_of([&] { einsum("gpn,gnd->gpd", dispatch, x); }).flops, 0);  // a copy
  const Tensor combine = dispatch * leaf({1, 3, 1}, 2), out = leaf({1, 3, 4}, 3);
  CHECK_EQ(cost_of([&] { einsum("gpn,gpd->gnd", combine, out); }).flops, 2 * 3 * 4);
  CHECK_EQ(cost_of([&] { einsum("gpn,gpd->gnd", dense(combine), out); }).flops,
           doctest::Approx(2 * 3 * 1000 * 4).epsilon(0.01));
}

TEST_CASE("cost: groups, attention, fused gradients, views and copies") {
  const Tensor x = leaf({6, 3}, 1), w = leaf({2, 3, 5}, 2), begin = tensor({0, 2, 6}, DType::i64);
  CostLedger groups;
  grad(grouped_matmul(x, w, begin), {x, w}, ones({6, 5}, DType::f64));
  CHECK_EQ(groups.by_op().at("grouped_matmul").flops, 2 * 2 * 6 * 3 * 5);
  CHECK_EQ(groups.by_op().at("grouped_outer").flops, 2 * 6 * 3 * 5);

  const Tensor q = leaf({2, 3, 4, 5}, 3), k = leaf({2, 3, 7, 5}, 4), v = leaf({2, 3, 7, 5}, 5);
  CostLedger ledger;
  const Tensor y = attention(q, k, v);
  grad(y, {q, k, v}, ones(y.shape(), DType::f64));
  CHECK_EQ(ledger.by_op().at("attention").flops, 2 * 2 * 2 * 3 * 4 * 7 * 5);
  CHECK_EQ(ledger.by_op().at("attention backward").flops, 5 * 2 * 2 * 3 * 4 * 7 * 5);

  CHECK_EQ(cost_of([&] { reshape(permute(x, {1, 0}), {3, 6, 1}); }).bytes, 0);
  const Cost copy = cost_of([&] { contiguous(permute(x, {1, 0})); });
  CHECK_EQ(copy.flops, 0);
  CHECK_EQ(copy.bytes, 2 * 8 * 18);
  CHECK_EQ(cost_of([&] { sum(x); }).flops, 18);
  CHECK_EQ(cost_of([&] { add(expand(leaf({1, 3}, 7), {6, 3}), x); }).bytes, 8 * (3 + 18 + 18));
}

TEST_CASE("cost: a recomputation costs what runs in it, and nothing for the rule around it") {
  const Tensor q = leaf({1, 1, 4, 5}, 3), k = leaf({1, 1, 7, 5}, 4), v = leaf({1, 1, 7, 5}, 5);
  const auto count = [&](bool again) {
    const auto f = [](const std::vector<Tensor>& in) { return attention(in[0], in[1], in[2]); };
    CostLedger ledger;
    const Tensor y = again ? checkpoint(f, {q, k, v}) : f({q, k, v});
    grad(y, {q, k, v}, ones(y.shape(), DType::f64));  // the last rule within is a kernel, which runs no op
    return ledger.by_op();
  };
  const std::map<std::string, Cost> plain = count(false), twice = count(true);
  CHECK_EQ(twice.count("checkpoint backward"), 0);
  CHECK_EQ(twice.count("checkpoint"), 0);
  CHECK_EQ(twice.at("attention").calls, 2 * plain.at("attention").calls);
  CHECK_EQ(twice.at("attention backward").flops, plain.at("attention backward").flops);
}

TEST_CASE("cost: the table lists ops by cost, and their sum") {
  const Tensor x = leaf({2, 2}, 1);
  CostLedger ledger;
  exp(matmul(x, x));
  CHECK_EQ(ledger.table(),
           "op         calls         MFLOP            MB\n"
           "matmul         1         0.000         0.000\n"
           "exp            1         0.000         0.000\n"
           "all            2         0.000         0.000\n");
}
