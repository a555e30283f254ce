// How einsum lowers a pair of operands: which axes a product reads as they lie, which are copied, and how two one-hots
// become one table. Values alone would not show a needless copy.
#include "ops/einsum_lower.h"

#include <doctest/doctest.h>

#include "core/memory.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/diagonal.h"
#include "ops/einsum.h"
#include "ops/matmul.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr int A = 0, B = 1, K = 2, L = 3, M = 4;
constexpr LabelSet kAllLabels = ~LabelSet{0};

TermLayout row_major_term(const InlineList<int>& labels, const Shape& shape) {
  return {labels, shape, row_major(shape)};
}
LabelSet all_but(int label) { return kAllLabels & ~bit(label); }

// The product of two terms, and the same with their one-hots as plain numbers; both with axes in the order `wanted`.
Tensor product(const EinsumTerm& a, const EinsumTerm& b, LabelSet keep, const InlineList<int>& wanted) {
  const EinsumTerm y = contract(a, b, keep, DType::f64);
  Axes order;
  for (int l : wanted) order.push_back(y.labels.find(l));
  return cast(dense(permute(y.x, order)), DType::f64);
}
EinsumTerm plain(const EinsumTerm& t) { return {dense(cast(t.x, DType::f64)), t.labels}; }

// A one-hot of random classes; about one row in classes + 1 is empty.
Tensor hot(const Shape& rows, i64 classes, u64 seed) {
  return one_hot(cast(floor(random_tensor(rows, seed, -1, static_cast<double>(classes))), DType::i64), classes);
}

void check_pair(const EinsumTerm& a, const EinsumTerm& b, LabelSet keep, const InlineList<int>& wanted) {
  const Tensor expected = product(plain(a), plain(b), keep, wanted);
  CHECK_GT(difference(expected, zeros_like(expected)), 1e-3);  // the comparison is of something
  CHECK_LE(difference(product(a, b, keep, wanted), expected), 1e-12);
  CHECK_LE(difference(product(b, a, keep, wanted), expected), 1e-12);
}

}  // namespace

TEST_CASE("einsum: axes that lie one behind the other are one axis of the matrix product") {
  const DenseStep s = lower_dense(row_major_term({M, B, K}, {4, 100, 8}), row_major_term({K, L}, {8, 5}), all_but(K));
  CHECK(s.gemm);
  CHECK_EQ(s.a.shape, Shape{400, 8});
  CHECK_FALSE(s.a.moves);
  CHECK_EQ(s.b.shape, Shape{8, 5});
  CHECK_EQ(s.result.shape, Shape{4, 100, 5});
}

TEST_CASE("einsum: axes with a gap between them are a batch, which is not copied") {
  // [4, 100, 8] cut out of [4, 120, 8]
  const TermLayout cut{{A, B, K}, {4, 100, 8}, {960, 8, 1}};
  const DenseStep s = lower_dense(cut, row_major_term({K, L}, {8, 5}), all_but(K));
  CHECK_EQ(s.a.shape, Shape{4, 100, 8});
  CHECK_EQ(s.b.shape, Shape{1, 8, 5});
  CHECK_EQ(s.result.labels, InlineList<int>{A, B, L});
}

TEST_CASE("einsum: a batch of thin products is copied into one, if the other operand is larger than the copy") {
  const auto batched = [](const Shape& cut, i64 columns) {
    const TermLayout a{{A, B, K}, cut, {100 * cut[1] * cut[2], cut[2], 1}};
    return lower_dense(a, row_major_term({K, L}, {cut[2], columns}), all_but(K)).a.shape.rank() == 3;
  };
  CHECK_FALSE(batched({4, 10, 2}, 25));  // 4 products read 4 * 50 elements of the other operand, more than 80
  CHECK(batched({4, 10, 2}, 9));         // 72: less than a copy
  CHECK(batched({4, 10, 2}, 10));        // 80: as much
  CHECK(batched({4, 64, 2}, 200));       // not thin
}

TEST_CASE("einsum: where nothing is summed between two operands, their product is elementwise") {
  const TermLayout matrix = row_major_term({A, B}, {3, 4});
  CHECK_FALSE(lower_dense(matrix, matrix, bit(A) | bit(B)).gemm);
  CHECK_FALSE(lower_dense(matrix, row_major_term({B}, {4}), bit(A) | bit(B)).gemm);
  CHECK(lower_dense(matrix, row_major_term({B}, {4}), all_but(B)).gemm);
}

TEST_CASE("einsum: the axes of a diagonal lie as far apart as those it was made of together") {
  // Neither diagonal continues the next axis, so each is a batch of two, and x is read where it lies.
  const Tensor x = random_tensor({2, 64, 2, 3}, 1), z = random_tensor({2, 2, 64, 3}, 2), w = random_tensor({3, 1}, 3);
  memory::AllocationLog log;
  const Tensor outer = einsum("ijik,kl->ijl", x, w), inner = einsum("iijk,kl->ijl", z, w);
  CHECK_EQ(log.count(2 * 64 * 3), 0);
  CHECK_LE(difference(outer, matmul(diagonal(x, 0, 2), w)), 1e-13);
  CHECK_LE(difference(inner, matmul(diagonal(z, 0, 1), w)), 1e-13);
}

TEST_CASE("einsum: the last product of several lays its result out as it is wanted") {
  const Tensor a = random_tensor({4, 5}, 1), b = random_tensor({5, 6}, 2), c = random_tensor({6, 7}, 3);
  CHECK(einsum("ab,bc,cd->ad", a, b, c).is_contiguous());
  CHECK(einsum("ab,bc,cd->da", a, b, c).is_contiguous());
}

TEST_CASE("einsum: two one-hots with rows of their own become one table") {
  const EinsumTerm p{hot({6}, 4, 1), {A, K}}, q{hot({5}, 3, 2), {B, L}};
  CHECK(one_hot_of(contract(p, q, kAllLabels, DType::f64).x) != nullptr);
  check_pair(p, q, kAllLabels, {A, K, B, L});
  check_pair(p, q, all_but(B), {A, K, L});
}

TEST_CASE("einsum: rows that were summed away before stay summed in the table of two one-hots") {
  const EinsumTerm p{hot({6, 5}, 4, 1), {A, B, K}};
  const EinsumTerm first{sum(hot({7, 5}, 3, 2), Axes{0}), {B, L}}, last{sum(hot({5, 7}, 3, 3), Axes{1}), {B, L}};
  const EinsumTerm strangers{sum(hot({2, 7}, 3, 4), Axes{1}), {M, L}};
  for (const EinsumTerm& q : {first, last, strangers}) {
    REQUIRE(one_hot_of(q.x) != nullptr);
    InlineList<int> wanted{A, B, K, L};
    if (q.labels.contains(M)) wanted.push_back(M);
    check_pair(p, q, kAllLabels, wanted);
  }
}

TEST_CASE("einsum: a class of one one-hot that is a row or a class of the other") {
  const EinsumTerm p{hot({6}, 5, 1), {A, K}}, rows{hot({5}, 4, 2), {K, L}}, classes{hot({7}, 5, 3), {B, K}};
  check_pair(p, rows, all_but(K), {A, L});
  check_pair(p, rows, kAllLabels, {A, K, L});
  check_pair(p, classes, all_but(K), {A, B});
  check_pair(p, classes, kAllLabels, {A, B, K});
}

TEST_CASE("einsum: gates that meet a one-hot whose class is summed pass along its routes, and nothing is made dense") {
  const EinsumTerm p{hot({6}, 5, 1), {A, K}}, gates{random_tensor({6}, 2), {A}};
  const i64 before = times_made_dense();
  const EinsumTerm y = contract(p, gates, all_but(K), DType::f64);
  CHECK_EQ(times_made_dense(), before);
  CHECK_EQ(one_hot_of(y.x), nullptr);
  check_pair(p, gates, all_but(K), {A});
  CHECK(one_hot_of(contract(p, gates, kAllLabels, DType::f64).x) != nullptr);
}

TEST_CASE("einsum: thin products beside an operand that is large only by repetition") {
  // 64 products of 2 rows, and 2^59 elements that are one number: their product has too many elements, not the plan.
  const Tensor x = expand(ones({64, 1, 1}), {64, 2, 2}), w = expand(ones({1, 1}), {2, i64{1} << 58});
  CHECK_THROWS_WITH_AS(einsum("ipk,kj->ipj", x, w),
                       "memory: 576460752303423488 elements of f32 are more than any machine has", Error);
}
