#include "nn/moe/k_subset.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/choose.h"
#include "core/random.h"
#include "ops/autodiff/derivatives.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
double probability(double logit) { return 1 / (1 + std::exp(-logit)); }

// Calls visit(bits, probability) for every outcome of the bits of row r.
template <class Visit> void enumerate(const Tensor& logits, i64 r, i64 n, Visit visit) {
  for (i64 bits = 0; bits < (i64{1} << n); ++bits) {
    double p = 1;
    for (i64 i = 0; i < n; ++i) {
      const double one = probability(value_at(logits, {r, i}));
      p *= ((bits >> i) & 1) ? one : 1 - one;
    }
    visit(bits, p);
  }
}
i64 ones_among(i64 bits, i64 first) {
  i64 count = 0;
  for (i64 i = 0; i < first; ++i) count += (bits >> i) & 1;
  return count;
}

Tensor naive_log_pr(const Tensor& logits, i64 k) {
  const i64 n = logits.dim(1);
  Tensor y = zeros({logits.dim(0)}, DType::f64);
  for (i64 r = 0; r < logits.dim(0); ++r) {
    double p = 0;
    enumerate(logits, r, n, [&](i64 bits, double q) { p += ones_among(bits, n) == k ? q : 0; });
    set_value(y, {r}, std::log(p));
  }
  return y;
}

Tensor naive_marginals(const Tensor& logits, i64 k) {
  const i64 n = logits.dim(1);
  Tensor y = zeros(logits.shape(), DType::f64);
  for (i64 r = 0; r < logits.dim(0); ++r)
    for (i64 i = 0; i < n; ++i) {
      double with = 0, all = 0;
      enumerate(logits, r, n, [&](i64 bits, double q) {
        if (ones_among(bits, n) != k) return;
        all += q;
        with += ((bits >> i) & 1) ? q : 0;
      });
      set_value(y, {r, i}, with / all);
    }
  return y;
}

}  // namespace

TEST_CASE("k_subset: log probability and marginals equal their enumeration, with gradients of order 2") {
  for (i64 n = 1; n <= 6; ++n)
    for (i64 k = 1; k <= n; ++k) {
      CAPTURE(n);
      CAPTURE(k);
      const int order = n <= 4 ? 2 : 1;
      check_op({.name = "log_pr_exactly",
                .op = [k](Args a) { return log_pr_exactly(a[0], k); },
                .reference = [k](Args a) { return naive_log_pr(a[0], k); },
                .inputs = {Input({3, n}, -3, 3)},
                .order = order,
                .bf16 = false});  // bf16 gives f32
      check_op({.name = "k_subset_marginals",
                .op = [k](Args a) { return k_subset_marginals(a[0], k); },
                .reference = [k](Args a) { return naive_marginals(a[0], k); },
                .inputs = {Input({3, n}, -3, 3)},
                .order = order,
                .bf16 = false});
    }
}

TEST_CASE("k_subset: the table counts the ones among the first bits") {
  const i64 n = 5, k = 3;
  const Tensor logits = random_tensor({2, n}, 1, -2, 2), table = log_pr_table(logits, k);
  REQUIRE_EQ(table.shape(), Shape{2, n + 1, k + 1});
  for_each_index(table.shape(), [&](const std::vector<i64>& at) {
    double p = 0;
    enumerate(logits, at[0], n, [&](i64 bits, double q) { p += ones_among(bits, at[1]) == at[2] ? q : 0; });
    if (at[2] > at[1])
      CHECK_LT(value_at(table, at), -0x1p110);
    else
      CHECK_EQ(value_at(table, at), doctest::Approx(std::log(p)).epsilon(1e-12));
  });
}

TEST_CASE("k_subset: leading axes are rows; the gradient of the log probability is marginals - sigmoid") {
  const Tensor x = random_tensor({2, 3, 5}, 2, -4, 4);
  CHECK_LE(difference(reshape(k_subset_marginals(x, 2), {6, 5}), naive_marginals(reshape(x, {6, 5}), 2)), 1e-13);
  CHECK_LE(difference(sum(k_subset_marginals(x, 2), -1), full({2, 3}, 2, DType::f64)), 1e-13);
  Tensor leaf = x.detach();
  leaf.requires_grad_();
  const Tensor d = grad(sum(log_pr_exactly(leaf, 2)), {leaf})[0];
  CHECK_LE(difference(d, k_subset_marginals(x, 2) - sigmoid(x)), 1e-13);
  CHECK_EQ(k_subset_marginals(zeros({0, 4}, DType::f64), 2).shape(), Shape{0, 4});
  CHECK_LE(difference(k_subset_marginals(zeros({4}), 4), ones({4})), 1e-6);
}

TEST_CASE("k_subset: logits of -infinity and of any size give finite values and gradients") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    Tensor x = cast(
        tensor({{0, -kInf, 1, -kInf}, {1e4, -1e4, 3e4, 1e4}, {-1e4, -2e4, -1e4, -1e4}, {-kInf, -kInf, -kInf, -kInf}},
               DType::f64),
        dtype);
    for (i64 k = 1; k <= 4; ++k) {
      CAPTURE(k);
      x.requires_grad_();
      const Tensor m = k_subset_marginals(x, k), p = log_pr_exactly(x, k);
      const Tensor dx = grad(sum(m * cast(random_tensor({4, 4}, 3), dtype)) + sum(slice(p, 0, {0, 3})), {x},
                             {.create_graph = true})[0];
      const Tensor ddx = grad(sum(dx * cast(random_tensor({4, 4}, 4), dtype)), {x})[0];
      for (const Tensor& t : {m, p, dx, ddx}) CHECK(all(isfinite(t)).item() == 1);
      CHECK_LE(amax(m).item(), 1.001);
    }
    const Tensor m = k_subset_marginals(x, 2);
    CHECK_EQ(value_at(m, {0, 1}), 0);
    CHECK_EQ(value_at(m, {0, 2}), doctest::Approx(1));
    CHECK_EQ(value_at(m, {1, 2}), doctest::Approx(1));
    // Logarithms of up to 6e4 are kept to half a unit of their last digit: 2e-3 in f32.
    const double close = dtype == DType::f64 ? 1e-10 : 4e-3;
    CHECK_LE(std::abs(value_at(m, {1, 0}) - 0.5), close);
    CHECK_LE(std::abs(value_at(m, {2, 0}) - 2.0 / 3), close);
  }
}

TEST_CASE("k_subset: samples have k ones and the frequencies of their subsets") {
  constexpr i64 kRows = 40000, kN = 5, kK = 2;
  const Tensor one = random_tensor({1, kN}, 5, -2, 2);
  Random random(11);
  const Tensor u = random_uniform({kN, kRows}, 0, 1, random.next(), DType::f64);
  const Tensor y = sample_k_subset(expand(one, {kRows, kN}), kK, u);
  CHECK_EQ(amin(sum(y, -1)).item(), kK);
  CHECK_EQ(amax(sum(y, -1)).item(), kK);
  // The deviation of a frequency is at most sqrt(1/4 / 40000) = 0.0025; four of them.
  CHECK_LE(amax(abs(mean(y, 0) - naive_marginals(one, kK)[0])).item(), 0.01);
  double both = 0, subset = 0, all_of_k = 0;  // bits 1 and 3 together
  for (i64 r = 0; r < kRows; ++r) both += value_at(y, {r, 1}) * value_at(y, {r, 3});
  enumerate(one, 0, kN, [&](i64 bits, double q) {
    if (ones_among(bits, kN) != kK) return;
    all_of_k += q;
    subset += bits == (2 | 8) ? q : 0;
  });
  CHECK_LE(std::abs(both / kRows - subset / all_of_k), 0.01);
}

TEST_CASE("k_subset: bits are drawn from the last to the first; what is forced asks no number") {
  const Tensor logits = tensor({{0, 0, 0}}, DType::f64);
  // Two of three: bit 2 is one with probability 2/3, bit 1 then with 1/2; after a zero the rest are forced.
  const auto sampled = [&](double u0, double u1, double u2) {
    return sample_k_subset(logits, 2, tensor({{u0}, {u1}, {u2}}, DType::f64)).to_vector<double>();
  };
  CHECK(sampled(0.66, 0.49, 0.0) == std::vector<double>{0, 1, 1});
  CHECK(sampled(0.66, 0.51, 0.99) == std::vector<double>{1, 0, 1});
  CHECK(sampled(0.67, 0.99, 0.99) == std::vector<double>{1, 1, 0});
  // Only bits that can be one, and k of them even where too few can.
  const Tensor few = tensor({{-kInf, 2, -kInf, 1}, {-kInf, -kInf, -kInf, -kInf}}, DType::f64);
  const Tensor y = sample_k_subset(few, 2, full({4, 2}, 0.7, DType::f64));
  CHECK(y[0].to_vector<double>() == std::vector<double>{0, 1, 0, 1});
  CHECK_EQ(sum(y[1]).item(), 2);

  RouteTape tape;
  {
    const TapeScope scope(tape, TapeMode::measure);
    sample_k_subset(logits, 2, tensor({{0.66}, {0.45}, {0.0}}, DType::f64));
  }
  CHECK_EQ(tape.choices().at(0).name, "k_subset");
  CHECK_EQ(tape.margin(), doctest::Approx(2.0 / 3 - 0.66));
}

TEST_CASE("k_subset: straight through: the sample's value, the marginals' gradient, to order 2") {
  Tensor x = random_tensor({3, 5}, 6, -2, 2);
  x.requires_grad_();
  const Tensor u = random_tensor({5, 3}, 7, 0, 1), w = random_tensor({3, 5}, 8), v = random_tensor({3, 5}, 9);
  for (i64 k : {1, 2, 3, 5}) {
    const Tensor y = simple_k_subset(x, k, u), m = k_subset_marginals(x, k);
    CHECK_EQ(difference(y, sample_k_subset(x, k, u)), 0);
    const auto orders = [&](const Tensor& z) {
      const Tensor d = grad(sum(z * w), {x}, {.create_graph = true})[0];
      return std::pair{d, grad(sum(d * v), {x})[0]};
    };
    const auto got = orders(y), want = orders(m);
    CHECK_LE(difference(got.first, want.first), 1e-14);
    CHECK_LE(difference(got.second, want.second), 1e-14);
  }
}

TEST_CASE("k_subset: marginals of huge logits are probabilities, finite with their gradients, for every k") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const double size : {1e6, 1e12, 1e20})
      for (const i64 k : {1, 2, 3, 4}) {
        CAPTURE(size);
        CAPTURE(k);
        Tensor logits = random_tensor({200, 4}, 5, -size, size, dtype);
        logits.requires_grad_();
        const Tensor y = k_subset_marginals(logits, k);
        CHECK_LE(amax(y).item(), 1);
        CHECK_GE(amin(y).item(), 0);
        const Tensor dx = grad(sum(square(y)), {logits})[0];
        CHECK(all(isfinite(dx)).item() == 1);
      }
}

TEST_CASE("k_subset: errors") {
  const Tensor x = zeros({2, 3}), u = zeros({3, 2});
  CHECK_THROWS_WITH_AS(k_subset_marginals(x, 4),
                       "k_subset_marginals: logits must be [.., n] with k in [1, n]; got [2, 3], k = 4", ShapeError);
  CHECK_THROWS_WITH_AS(log_pr_exactly(x, 0),
                       "log_pr_exactly: logits must be [.., n] with k in [1, n]; got [2, 3], k = 0", ShapeError);
  CHECK_THROWS_WITH_AS(log_pr_table(scalar(1), 1),
                       "log_pr_table: logits must be [.., n] with k in [1, n]; got [], k = 1", ShapeError);
  CHECK_THROWS_WITH_AS(log_pr_table(zeros({3}, DType::i64), 1), "log_pr_table: x must be f32, f64 or bf16; got i64",
                       DTypeError);
  CHECK_THROWS_WITH_AS(simple_k_subset(x, 2, x),
                       "simple_k_subset: uniform must be [n, ..] = [3, 2] for logits [2, 3]; got [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(sample_k_subset(x, 2, cast(u, DType::f64)), "sample_k_subset: x must be f32 (uniform); got f64",
                       DTypeError);
  CHECK_EQ(k_subset_marginals(zeros({2, 3}, DType::bf16), 1).dtype(), DType::f32);
}
