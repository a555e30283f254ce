// What einsum decides: order, kinds of steps, what is copied, what is remembered.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "core/memory.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/einsum.h"
#include "ops/matmul.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
std::string kinds(const EinsumPath& path) {
  std::string s;
  for (const EinsumStep& step : path.steps) s += (s.empty() ? "" : " ") + step.kind;
  return s;
}
}  // namespace

TEST_CASE("einsum_path: the cheaper order is found, and the plan says what it is") {
  const EinsumPath path = einsum_path("ab,bc,cd->ad", {zeros({2, 1000}), zeros({1000, 2}), zeros({2, 1000})});
  CHECK_EQ(kinds(path), "gemm gemm");
  CHECK_EQ(path.steps[0].equation, "ab,bc->ac");
  CHECK_EQ(path.steps[0].a, 0);
  CHECK_EQ(path.steps[0].b, 1);
  CHECK_EQ(path.steps[1].b, 2);
  CHECK_EQ(path.flops, 2.0 * (2 * 1000 * 2 + 2 * 2 * 1000));
  CHECK_EQ(path.steps[0].bytes, 4.0 * (2000 + 2000 + 4));
  CHECK_EQ(path.largest, 2000);
  CHECK_EQ(path.text(),
           "0, 1     ab,bc->ac                gemm             8000 FLOP    1.602e+04 B            4 elements\n"
           "0, 2     ac,cd->ad                gemm             8000 FLOP    1.602e+04 B         2000 elements\n"
           "total 1.6e+04 FLOP, 3.203e+04 B, largest result 2000 elements\n");
}

TEST_CASE("einsum_path: gather, scatter, scale and join of structured one-hots, and steps of one operand") {
  const Tensor hot = one_hot(zeros({4, 6}, DType::i64), 1000), places = one_hot(zeros({4, 6}, DType::i64), 5);
  CHECK_EQ(kinds(einsum_path("gpn,gnd->gpd", {hot, zeros({4, 1000, 8})})), "gather");
  CHECK_EQ(kinds(einsum_path("gpn,gpd->gnd", {hot, zeros({4, 6, 8})})), "scatter");
  CHECK_EQ(kinds(einsum_path("gp,gpn->gpn", {zeros({4, 6}), hot})), "scale");
  CHECK_EQ(kinds(einsum_path("gpn,gpc->gnc", {hot, places})), "join");
  CHECK_EQ(kinds(einsum_path("gpn,gpc,gpd->gncd", {hot, places, zeros({4, 6, 8})})), "join scatter");
  CHECK_EQ(einsum_path("gpn,gnd->gpd", {hot, zeros({4, 1000, 8})}).flops, 2.0 * 4 * 6 * 8);
  CHECK_EQ(kinds(einsum_path("ii->", {zeros({4, 4})})), "diagonal sum");
  CHECK_EQ(kinds(einsum_path("ij->ji", {zeros({4, 3})})), "permute");
  CHECK_EQ(kinds(einsum_path("ij,jk->ki", {zeros({4, 3}), zeros({3, 2})})), "gemm");  // computed as it is wanted
  CHECK_EQ(kinds(einsum_path("i,j->ij", {zeros({4}), zeros({3})})), "product");
  CHECK_EQ(kinds(einsum_path("ab->ab", {zeros({4, 3})})), "");
}

TEST_CASE("einsum_path: of six matrices the order of the matrix chain, of more a good one") {
  std::mt19937_64 engine(5);
  for (int trial = 0; trial < 20; ++trial) {
    constexpr int kMatrices = 6;
    double n[kMatrices + 1];
    std::vector<Tensor> xs;
    for (double& size : n) size = static_cast<double>(2 + engine() % 30);
    for (int i = 0; i < kMatrices; ++i) xs.push_back(zeros({static_cast<i64>(n[i]), static_cast<i64>(n[i + 1])}));
    // best[i][j]: the least cost of the product of matrices i..j, by FLOPs and elements written
    double best[kMatrices][kMatrices] = {};
    for (int length = 1; length < kMatrices; ++length)
      for (int i = 0, j = length; j < kMatrices; ++i, ++j) {
        best[i][j] = 1e300;
        for (int k = i; k < j; ++k)
          best[i][j] =
              std::min(best[i][j], best[i][k] + best[k + 1][j] + 2 * n[i] * n[k + 1] * n[j + 1] + n[i] * n[j + 1]);
      }
    const EinsumPath path = einsum_path("ab,bc,cd,de,ef,fg->ag", xs);
    double cost = path.flops;
    for (const EinsumStep& s : path.steps) cost += static_cast<double>(s.elements);
    CHECK_EQ(cost, best[0][kMatrices - 1]);
  }
  std::vector<Tensor> long_chain(9, zeros({10, 10}));
  long_chain[8] = zeros({10, 1});
  CHECK_LE(einsum_path("ab,bc,cd,de,ef,fg,gh,hi,ij->aj", long_chain).flops, 8 * 2 * 10 * 10 * 10);
}

TEST_CASE("einsum: operands are read as they lie, without copies") {
  const i64 B = 3, S = 40, H = 4, D = 8, T = 50, E = 3, F = 64;
  const struct {
    const char* equation;
    Shape a, b;
  } rows[] = {{"bshd,bthd->bhst", {B, S, H, D}, {B, T, H, D}},
              {"bhst,bthd->bshd", {B, H, S, T}, {B, T, H, D}},
              {"td,edf->etf", {T, D}, {E, D, F}},
              {"gecd,edf->gecf", {B, E, 64, D}, {E, D, F}},
              {"bnd,de->bne", {B, S, D}, {D, E}},
              {"ij,kj->ki", {S, D}, {T, D}},
              {"becd,bnec->bnd", {B, E, S, D}, {B, T, E, S}},
              {"bnd,bnp->bpd", {B, S, D}, {B, S, T}}};
  for (const auto& row : rows) {
    CAPTURE(row.equation);
    const Tensor a = random_tensor(row.a, 1), b = random_tensor(row.b, 2);
    memory::AllocationLog log;
    const Tensor y = einsum(row.equation, a, b);
    CHECK_EQ(log.bytes(), 8 * y.size());
  }
  // Slices and transposed views, too.
  const Tensor wide = random_tensor({B, 2 * S, 2 * D}, 1), w = random_tensor({T, D}, 2);
  const Tensor x = slice(slice(wide, 1, {0, 2 * S, 2}), 2, {0, D});
  memory::AllocationLog log;
  const Tensor y = einsum("bnd,td->bnt", x, w);
  CHECK_EQ(log.bytes(), 8 * y.size());
  CHECK_LE(difference(y, matmul(x, transpose(w))), 1e-14);
}

TEST_CASE("einsum: a plan is made once per equation, dtypes, shapes, layouts and structure") {
  const Tensor a = random_tensor({4, 3}, 1), b = random_tensor({3, 4}, 2);
  const Tensor hot = one_hot(zeros({4}, DType::i64), 3);
  const auto all = [&] {
    einsum("ij,jk->ik", a, b);
    einsum("ij,jk->ik", a, transpose(a));
    einsum("ij,jk->ik", cast(a, DType::f32), cast(b, DType::f32));
    einsum("ij,jk->ik", hot, b);
    einsum("ij,jk->ik", random_tensor({4, 1}, 1) * hot, b);
    einsum("ij,jk->ik", b, a);
  };
  const i64 before = einsum_plans_made();
  all();
  CHECK_EQ(einsum_plans_made(), before + 6);
  all();
  CHECK_EQ(einsum_plans_made(), before + 6);
  // Equal text and shapes, other forms: each gets what is right for it.
  const Tensor plain = dense(cast(hot, DType::f64));
  CHECK_LE(difference(einsum("ij,jk->ik", hot, b), matmul(plain, b)), 0);
  CHECK_LE(difference(einsum("ij,jk->ik", plain, b), matmul(plain, b)), 0);
}

TEST_CASE("einsum: every thread has plans of its own") {
  std::vector<std::thread> threads;
  std::vector<double> worst(4, 1);
  for (std::size_t t = 0; t < worst.size(); ++t)
    threads.emplace_back([&worst, t] {
      double most = 0;
      for (u64 i = 0; i < 400; ++i) {
        const Tensor a = random_tensor({2 + static_cast<i64>(i % 37), 3}, i), b = random_tensor({3, 4}, i + t);
        most = std::max(most, difference(einsum("ij,jk->ik", a, b), matmul(a, b)));
      }
      worst[t] = most;
    });
  for (std::thread& t : threads) t.join();
  for (double w : worst) CHECK_LE(w, 1e-15);
}

TEST_CASE("einsum: integers and bools are exact in i64") {
  const i64 big = (i64{1} << 53) + 1;
  const Tensor x = from_vector(std::vector<i64>{big, 2, 3, big}, {2, 2});
  const Tensor ids = tensor({{1, 0}, {1, 1}}, DType::i32), mask = tensor({{1, 0}, {1, 1}}, DType::boolean);
  CHECK_EQ(einsum("ij->ij", x).to_vector<i64>(), std::vector<i64>{big, 2, 3, big});
  CHECK_EQ(einsum("ij,jk->ik", x, ids).to_vector<i64>(), std::vector<i64>{big + 2, 2, big + 3, big});
  CHECK_EQ(einsum("ij,ij->ij", x, mask).to_vector<i64>(), std::vector<i64>{big, 0, 3, big});
  CHECK_EQ(einsum("ij->", x).to_vector<i64>(), std::vector<i64>{2 * big + 5});
  CHECK_EQ(einsum("ij,ij->", mask, mask).to_vector<i64>(), std::vector<i64>{3});
  CHECK_EQ(einsum("ij->j", ids).dtype(), DType::i64);
  CHECK_EQ(einsum("ij->ji", mask).dtype(), DType::i64);
  // Ids gathered, and added up, along routes.
  const Tensor hot = one_hot(tensor({1, 0, -1, 1}, DType::i64), 2);
  CHECK_EQ(einsum("pn,n->p", hot, x[0]).to_vector<i64>(), std::vector<i64>{2, big, 0, 2});
  CHECK_EQ(einsum("pn,p->n", hot, from_vector(std::vector<i64>{big, 1, 7, 1}, {4})).to_vector<i64>(),
           std::vector<i64>{1, big + 1});
  const Tensor scaled = einsum("pn,p->pn", hot, from_vector(std::vector<i64>{big, 1, 7, 1}, {4}));
  CHECK_EQ(scaled.dtype(), DType::i64);
  CHECK_EQ(scaled.to_vector<i64>(), std::vector<i64>{0, big, 1, 0, 0, 0, 0, 1});
  CHECK_EQ(einsum("pn->n", hot).to_vector<i64>(), std::vector<i64>{1, 2});
  CHECK_EQ(einsum("pn,pm->nm", hot, hot).to_vector<i64>(), std::vector<i64>{1, 0, 0, 2});
}

TEST_CASE("einsum: an axis of a one-hot that broadcasts") {
  const Tensor hot = one_hot(tensor({{0, 1, 1}}, DType::i64), 2), one = one_hot(tensor({0, -1, 0}, DType::i64), 1);
  const Tensor x = random_tensor({4, 3}, 1), z = random_tensor({3, 5}, 2);
  CHECK_LE(difference(einsum("grn,gr->gn", hot, x), einsum("grn,gr->gn", dense(cast(hot, DType::f64)), x)), 1e-14);
  CHECK_LE(difference(einsum("rn,rn->rn", one, z), einsum("rn,rn->rn", dense(cast(one, DType::f64)), z)), 1e-14);
}

TEST_CASE("einsum: a letter of one operand alone is summed before the product") {
  const i64 n = 12;
  const Tensor a = random_tensor({n, n}, 1), b = random_tensor({n, n}, 2);
  memory::AllocationLog log;
  const Tensor y = einsum("ab,cd->ac", a, b);
  CHECK_EQ(log.count_at_least(n * n + 1), 0);
  CHECK_LE(difference(y, unsqueeze(sum(a, 1), 1) * sum(b, 1)), 1e-14);
}

TEST_CASE("einsum: a repeated letter of sizes 0 and 1") {
  CHECK_EQ(einsum("ii->i", zeros({0, 1})).shape(), Shape{0});
  CHECK_EQ(einsum("ii->i", zeros({1, 0})).shape(), Shape{0});
  CHECK_EQ(einsum("ii->", ones({1, 3})).item(), 3);
}

TEST_CASE("einsum: more one-hots over the same rows than a table can have class axes") {
  std::vector<Tensor> hots;
  std::vector<Tensor> plain;
  for (i64 j = 0; j <= kMaxClassAxes; ++j) {
    hots.push_back(one_hot(tensor({j % 2, 1, 0, (j + 1) % 2}, DType::i64), 2));
    plain.push_back(dense(cast(hots.back(), DType::f64)));
  }
  const char* const equation = "ra,rb,rc,rd,re->abcde";
  CHECK_EQ(difference(cast(dense(einsum(equation, hots)), DType::f64), einsum(equation, plain)), 0);
}
