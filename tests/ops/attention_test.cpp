#include "ops/attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Position = std::vector<i64>;

Position with(Position at, i64 row, i64 column) {
  at[at.size() - 2] = row;
  at.back() = column;
  return at;
}
// Of a mask or bias that broadcasts.
double broadcast_at(const Tensor& x, const Position& at) {
  Position own(at.end() - x.rank(), at.end());
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] == 1) own[static_cast<std::size_t>(i)] = 0;
  return value_at(x, own);
}

// Element by element: every probability is worked out again for every output.
std::function<Tensor(Args)> naive(const AttentionOptions& o) {
  return [o](Args in) {
    const Tensor &q = in[0], &k = in[1], &v = in[2];
    const i64 width = q.dim(-1), queries = q.dim(-2), keys = k.dim(-2);
    Shape shape = q.shape();
    shape.back() = v.dim(-1);
    Tensor y = empty(shape, DType::f64);
    const u32 step = o.dropout > 0 ? static_cast<u32>(o.draw.step.item()) : 0;
    for_each_index(shape, [&](const Position& at) {
      const i64 i = at[at.size() - 2], column = at.back();
      double total = 0, value = 0;
      i64 entry = 0;  // number of the batch entry
      for (int a = 0; a < q.rank() - 2; ++a) entry = entry * shape[a] + at[static_cast<std::size_t>(a)];
      for (i64 j = 0; j < keys; ++j) {
        if (o.causal && j > i + keys - queries) continue;
        if (o.mask && broadcast_at(o.mask, with(at, i, j)) == 0) continue;
        double score = 0;
        for (i64 c = 0; c < width; ++c) score += value_at(q, with(at, i, c)) * value_at(k, with(at, j, c));
        score *= o.scale.value_or(1 / std::sqrt(static_cast<double>(width)));
        if (in.size() > 3) score += broadcast_at(in[3], with(at, i, j));
        const double p = std::exp(score);
        total += p;
        double kept = 1;
        if (o.dropout > 0) {
          const i64 number = (entry * keys + j) * queries + i;
          const bool drop = random::uniform<float>(o.draw.seed, o.draw.number, step, number) < o.dropout;
          kept = drop ? 0 : 1 / (1 - o.dropout);
        }
        value += p * kept * value_at(v, with(at, j, column));
      }
      set_value(y, at, total > 0 ? value / total : 0);
    });
    return y;
  };
}

// Reproducible bool values, about three of four true.
Tensor random_mask(const Shape& shape, u64 seed) { return gt(random_tensor(shape, seed), scalar(-0.5, DType::f64)); }

// The options with their tensors where the operands are.
AttentionOptions beside(const Tensor& q, AttentionOptions o) {
  if (o.mask) o.mask = o.mask.to(q.device());
  if (o.draw.step) o.draw.step = o.draw.step.to(q.device());
  return o;
}

void check_attention(const AttentionOptions& o, const std::vector<Input>& inputs, int order = 2) {
  check_op({.name = "attention",
            .op = [&](Args x) { return attention(x[0], x[1], x[2], beside(x[0], o)); },
            .reference = naive(o),
            .inputs = inputs,
            .order = order});
}

}  // namespace

TEST_CASE("attention: forward, gradient, second order") {
  const std::vector<Input> shapes[] = {
      {{3, 4}, {5, 4}, {5, 2}}, {{2, 3, 4}, {2, 3, 4}, {2, 3, 4}}, {{2, 2, 3, 1}, {2, 2, 4, 1}, {2, 2, 4, 3}},
      {{1, 1}, {1, 1}, {1, 1}}, {{5, 2}, {3, 2}, {3, 2}},          {{0, 2}, {3, 2}, {3, 2}},
      {{2, 3}, {0, 3}, {0, 2}}, {{0, 2, 3}, {0, 4, 3}, {0, 4, 2}}};
  for (const auto& inputs : shapes)
    for (const bool causal : {false, true}) {
      CAPTURE(to_string(inputs[0].shape));
      CAPTURE(causal);
      check_attention({.causal = causal}, inputs);
      check_attention({.causal = causal, .scale = 2}, inputs, 1);
    }
}

TEST_CASE("attention: masks broadcast, and a query that sees nothing gives zeros") {
  const std::vector<Input> inputs = {{2, 2, 3, 4}, {2, 2, 5, 4}, {2, 2, 5, 3}};
  for (const Shape& shape : {Shape{2, 2, 3, 5}, Shape{3, 5}, Shape{2, 1, 1, 5}, Shape{3, 1}, Shape{5}, Shape{}})
    for (const bool causal : {false, true}) {
      CAPTURE(to_string(shape));
      check_attention({.causal = causal, .mask = random_mask(shape, 3)}, inputs);
    }
  check_attention({.mask = zeros({3, 5}, DType::boolean)}, inputs);
  const Tensor one_row = gt(tensor({{1, 1, 1, 1, 1}, {0, 0, 0, 0, 0}, {0, 1, 0, 0, 0}}), scalar(0));
  check_attention({.mask = one_row}, inputs);
  check_attention({.mask = transpose(random_mask({5, 3}, 4))}, inputs, 1);
}

TEST_CASE("attention: a bias is added to the scores and has a gradient") {
  for (const Shape& bias : {Shape{2, 3, 5}, Shape{3, 5}, Shape{5}, Shape{2, 1, 1}, Shape{}})
    for (const bool causal : {false, true}) {
      CAPTURE(to_string(bias));
      AttentionOptions o{.causal = causal, .mask = random_mask(bias.rank() == 1 ? Shape{} : Shape{3, 5}, 3)};
      if (bias.rank() == 2) o.scale = 2;
      check_op({.name = "attention",
                .op =
                    [&](Args x) {
                      AttentionOptions own = beside(x[0], o);
                      own.bias = x[3];
                      return attention(x[0], x[1], x[2], own);
                    },
                .reference = naive(o),
                .inputs = {{2, 3, 4}, {2, 5, 4}, {2, 5, 2}, bias}});
    }
}

TEST_CASE("attention: dropout drops the probabilities that its draw names") {
  Random random(11);
  for (const bool causal : {false, true}) {
    const AttentionOptions o{.causal = causal, .dropout = 0.4, .draw = random.next()};
    check_attention(o, {{2, 3, 6, 4}, {2, 3, 6, 4}, {2, 3, 6, 5}});
    check_attention(o, {{2, 3, 4}, {2, 7, 4}, {2, 7, 4}});
  }
}

TEST_CASE("attention: several blocks of queries agree with the twin") {
  Random random(2);
  for (const bool causal : {false, true})
    for (const double p : {0.0, 0.3}) {
      CAPTURE(causal);
      CAPTURE(p);
      Tensor q = random_tensor({2, 300, 8}, 1), k = random_tensor({2, 330, 8}, 2), v = random_tensor({2, 330, 5}, 3);
      q.requires_grad_(), k.requires_grad_(), v.requires_grad_();
      const AttentionOptions o{
          .causal = causal, .mask = random_mask({300, 330}, 5), .dropout = p, .draw = random.next()};
      const Tensor y = attention(q, k, v, o), dy = random_tensor(y.shape(), 4);
      CHECK_LE(difference(y, naive(o)({q, k, v})), 1e-13);  // sums of 330 terms, each rounded to 1e-16
      const auto kernel = grad(y, {q, k, v}, dy, {.retain_graph = true}),
                 twin = grad(y, {q, k, v}, dy, {.create_graph = true});
      for (std::size_t i = 0; i < 3; ++i) CHECK_LE(difference(kernel[i], twin[i]), 1e-13);
    }
}

TEST_CASE("attention: heads are split and joined without a copy, in O(S) memory") {
  constexpr i64 kBatch = 2, kLength = 256, kHeads = 3, kWidth = 4;
  Tensor qkv = random_tensor({kBatch, kLength, 3 * kHeads * kWidth}, 1, -1, 1, DType::f32);
  qkv.requires_grad_();
  const Tensor split = permute(reshape(qkv, {kBatch, kLength, 3, kHeads, kWidth}), {2, 0, 3, 1, 4});
  memory::AllocationLog log;
  const Tensor y = attention(split[0], split[1], split[2], {.causal = true});
  CHECK(permute(y, {0, 2, 1, 3}).is_contiguous());
  CHECK_EQ(log.count_at_least(kBatch * kHeads * kLength * kWidth), 1);  // y alone
  CHECK_EQ(log.count(kBatch * kHeads * kLength), 1);                    // log-sum-exp
  const Tensor dx = grad(y, {qkv}, ones(y.shape()))[0];
  CHECK_LT(log.largest(), kLength * kLength);
  CHECK_EQ(dx.shape(), qkv.shape());
}

TEST_CASE("attention: huge scores do not overflow, NaN shows") {
  const Tensor q = tensor({{1e3}, {-1e3}}), k = tensor({{1e3}, {-1e3}}), v = tensor({{1, 2}, {3, 4}});
  CHECK_EQ(difference(attention(q, k, v), v), 0);
  const Tensor y = attention(tensor({{std::nan("")}, {1}}), k, v);
  CHECK(std::isnan(y[0][0].item()));
  CHECK_EQ(y[1][0].item(), 1);
}

TEST_CASE("attention: the same bits for any number of threads") {
  Tensor q = random_tensor({6, 40, 8}, 1), k = random_tensor({6, 50, 8}, 2), v = random_tensor({6, 50, 8}, 3);
  q.requires_grad_(), k.requires_grad_(), v.requires_grad_();
  const Tensor dy = random_tensor({6, 40, 8}, 4);
  Random random(1);
  const AttentionOptions o{.causal = true, .dropout = 0.2, .draw = random.next()};
  const int before = num_threads();
  std::vector<std::vector<double>> results;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const Tensor y = attention(q, k, v, o);
    results.push_back(y.to_vector<double>());
    for (const Tensor& g : grad(y, {q, k, v}, dy)) {
      const auto values = g.to_vector<double>();
      results.back().insert(results.back().end(), values.begin(), values.end());
    }
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
}

TEST_CASE("attention: errors name the operands") {
  const Tensor q = zeros({2, 3, 4}), k = zeros({2, 5, 4}), v = zeros({2, 5, 6});
  CHECK_THROWS_WITH_AS(
      attention(q, zeros({2, 5, 3}), v),
      "attention: shapes must be q [.., S, d], k [.., T, d], v [.., T, e]; got q [2, 3, 4], k [2, 5, 3], "
      "v [2, 5, 6]",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      attention(q, k, zeros({2, 4, 6})),
      "attention: shapes must be q [.., S, d], k [.., T, d], v [.., T, e]; got q [2, 3, 4], k [2, 5, 4], v [2, 4, 6]",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      attention(q, zeros({3, 5, 4}), v),
      "attention: shapes must be q [.., S, d], k [.., T, d], v [.., T, e]; got q [2, 3, 4], k [3, 5, 4], v [2, 5, 6]",
      ShapeError);
  CHECK_THROWS_WITH_AS(attention(zeros({4}), zeros({4}), zeros({4})),
                       "attention: shapes must be q [.., S, d], k [.., T, d], v [.., T, e]; got q [4], k [4], v [4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(attention(q, k, v, {.mask = zeros({3, 4}, DType::boolean)}),
                       "attention: the mask must broadcast to the scores [2, 3, 5]; got mask [3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(attention(q, k, v, {.mask = zeros({3, 5})}), "attention: the mask must be bool; got f32 [3, 5]",
                       DTypeError);
  CHECK_THROWS_WITH_AS(attention(q, k, v, {.bias = zeros({1, 1, 1, 1})}),
                       "attention: the bias must broadcast to the scores [2, 3, 5]; got bias [1, 1, 1, 1]", ShapeError);
  CHECK_THROWS_WITH_AS(attention(q, k, v, {.bias = zeros({}, DType::f64)}),
                       "attention: operands must have one dtype; got f32 [2, 3, 4] and f64 []", DTypeError);
  for (const Tensor& bias : {Tensor{}, zeros({3, 5})}) {
    CHECK_THROWS_WITH_AS(attention(q, k, v, {.bias = bias, .dropout = 2}), "attention: p must be in [0, 1]; got p = 2",
                         Error);
    CHECK_THROWS_WITH_AS(attention(q, k, v, {.bias = bias, .dropout = 0.5}),
                         "attention: the draw must be one of a Random's; got an empty one", Error);
  }
}
