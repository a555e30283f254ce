#include "ops/einsum.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "ops/arithmetic.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/cast.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/naive_einsum.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Row {
  const char* equation;
  std::vector<Shape> shapes;
};

void check_rows(std::span<const Row> rows) {
  u64 seed = 0;
  for (const Row& row : rows) {
    CAPTURE(row.equation);
    check_op({.name = "einsum",
              .op = [&](Args x) { return einsum(row.equation, x); },
              .reference = [&](Args x) { return naive_einsum(row.equation, x); },
              .inputs = std::vector<Input>(row.shapes.begin(), row.shapes.end()),
              .seed = ++seed});
  }
}

}  // namespace

TEST_CASE("einsum: values and gradients of order 1 and 2 against nested loops") {
  const Row rows[] = {
      {"ij->ij", {{2, 3}}},
      {"ij->ji", {{2, 3}}},
      {"ij->", {{2, 3}}},
      {"ii->i", {{4, 4}}},
      {"ii->", {{3, 3}}},
      {"iji->j", {{2, 3, 2}}},
      {"iii->i", {{3, 3, 3}}},
      {"i,i->", {{5}, {5}}},
      {"i,j->ij", {{3}, {4}}},
      {"i,j->", {{3}, {4}}},
      {"ij,jk->ik", {{2, 3}, {3, 4}}},
      {"ij,jk->ki", {{2, 3}, {3, 4}}},
      {"ij,kj->ik", {{2, 3}, {4, 3}}},
      {"ji,jk->ik", {{3, 2}, {3, 4}}},
      {"bij,bjk->bik", {{2, 2, 3}, {2, 3, 4}}},
      {"bij,bjk->ik", {{2, 2, 3}, {2, 3, 4}}},
      {"bd,bd->b", {{3, 4}, {3, 4}}},
      {"td,edf->etf", {{3, 2}, {2, 2, 4}}},
      {"becd,edf->becf", {{2, 2, 3, 2}, {2, 2, 3}}},
      {"bshd,bthd->bhst", {{2, 3, 2, 2}, {2, 4, 2, 2}}},
      {"bhst,bthd->bshd", {{2, 2, 3, 4}, {2, 4, 2, 2}}},
      {"ij,jk,kl->il", {{2, 3}, {3, 2}, {2, 4}}},
      {"i,ij,j->", {{2}, {2, 3}, {3}}},
      {"ab,bc,cd,de->ae", {{2, 2}, {2, 3}, {3, 2}, {2, 2}}},
      {"ab,ab,ab->a", {{2, 3}, {2, 3}, {2, 3}}},
      {"aB,Bc->cB", {{2, 3}, {3, 2}}},
      {"ij,jk->ik", {{1, 3}, {3, 1}}},
      {"ij,jk->ik", {{0, 3}, {3, 2}}},
      {"ij,jk->ik", {{2, 0}, {0, 3}}},
      {"ij,jk->ik", {{2, 1}, {3, 4}}},  // size 1 broadcasts
      {"ij,ij->ij", {{2, 1}, {1, 3}}},
      {"ij,ij->i", {{2, 3}, {1, 1}}},
      {"i,i,i,i,i,i,i->i", {{2}, {2}, {2}, {2}, {2}, {2}, {2}}},  // beyond six operands: greedy
  };
  check_rows(rows);
}

TEST_CASE("einsum: ellipsis, implicit result, spaces") {
  const Tensor a = random_tensor({2, 3, 4}, 1), b = random_tensor({2, 4, 5}, 2), m = random_tensor({4, 5}, 3);
  const auto same = [](const Tensor& x, const Tensor& y) { CHECK_LE(difference(x, y), 1e-14); };
  same(einsum("...j,jk->...k", a, m), naive_einsum("abj,jk->abk", {a, m}));
  same(einsum("b...j , jk -> ...kb", a, m), naive_einsum("baj,jk->akb", {a, m}));
  same(einsum("...ij,...jk->...ik", a, b), naive_einsum("xij,xjk->xik", {a, b}));
  same(einsum("...ij,...jk->...ik", random_tensor({3, 1, 2, 4}, 6), b),
       naive_einsum("yxij,xjk->yxik", {random_tensor({3, 1, 2, 4}, 6), b}));
  same(einsum("ij,jk", a[0], m), naive_einsum("ij,jk->ik", {a[0], m}));
  same(einsum("ba", a[0]), naive_einsum("ba->ab", {a[0]}));
  same(einsum("bA", a[0]), naive_einsum("bA->Ab", {a[0]}));
  same(einsum("ii", random_tensor({3, 3}, 4)), naive_einsum("ii->", {random_tensor({3, 3}, 4)}));
  same(einsum("...a->...", a), naive_einsum("xya->xy", {a}));
  same(einsum("a...->a", a), naive_einsum("axy->a", {a}));
  same(einsum("...,...->...", a, random_tensor({4}, 5)),
       naive_map([](const std::vector<double>& v) { return v[0] * v[1]; })({a, random_tensor({4}, 5)}));
}

TEST_CASE("einsum: the equations of the papers and of the reference files, to second order") {
  const Row rows[] = {
      {"ij,jk->ik", {{4, 3}, {3, 2}}},
      {"ij,kj->ik", {{4, 3}, {2, 3}}},
      {"ji,jk->ik", {{3, 4}, {3, 2}}},
      {"ji,kj->ki", {{3, 4}, {2, 3}}},
      {"ij,jk->ki", {{4, 3}, {3, 2}}},
      {"bij,bjk->bik", {{3, 3, 2}, {3, 2, 2}}},
      {"bij,bkj->bik", {{3, 3, 2}, {3, 2, 2}}},
      {"bhqd,bhkd->bhqk", {{3, 2, 2, 2}, {3, 2, 2, 2}}},
      {"bhqk,bhkd->bqhd", {{3, 2, 2, 2}, {3, 2, 2, 2}}},
      {"bnd,de->bne", {{3, 2, 2}, {2, 2}}},
      {"bnd,des->bnes", {{3, 2, 2}, {2, 2, 2}}},
      {"bmd,dnp->bmnp", {{3, 3, 2}, {2, 2, 3}}},
      {"bmd,bmnp->bnpd", {{3, 3, 2}, {3, 3, 2, 3}}},
      {"bnpd,bmnp->bmd", {{3, 2, 3, 2}, {3, 3, 2, 3}}},
      {"bnd,bnec->becd", {{3, 2, 2}, {3, 2, 2, 2}}},
      {"becd,bnec->bnd", {{3, 2, 2, 2}, {3, 2, 2, 2}}},
      {"bec,bnec->bnec", {{3, 2, 2}, {3, 2, 2, 2}}},
      {"...te,...tec->...tec", {{2, 3, 3, 4}, {2, 3, 3, 4, 3}}},
      {"BElT, BTC -> BElC", {{2, 2, 2, 2}, {2, 2, 2}}},
      {"BElC, ECH -> BElH", {{2, 2, 2, 2}, {2, 2, 3}}},
      {"BElH, EHC -> BElC", {{2, 2, 2, 3}, {2, 3, 2}}},
      {"BElC, BElT -> BTC", {{2, 2, 2, 2}, {2, 2, 2, 2}}},
      {"b n d, e s d -> b n e s", {{3, 2, 2}, {2, 2, 2}}},
      {"b n d, b n e s -> b e s d", {{3, 2, 2}, {3, 2, 2, 2}}},
      {"b s d, b n s -> b n d", {{3, 2, 2}, {3, 2, 2}}},
      {"ii->i", {{4, 4}}},
      {"ii", {{4, 4}}},
      {"ii->", {{4, 4}}},
      {"bii->bi", {{4, 4, 4}}},
      {"iij->ij", {{4, 4, 3}}},
      {"iji->j", {{4, 3, 4}}},
      {"i,j->ij", {{4}, {3}}},
      {"i,j->ji", {{4}, {3}}},
      {"i,i->", {{4}, {4}}},
      {"i,i", {{4}, {4}}},
      {"ij->", {{4, 3}}},
      {"ij->j", {{4, 3}}},
      {"ij->ji", {{4, 3}}},
      {"ijk->kij", {{4, 3, 2}}},
      {"ij", {{4, 3}}},
      {"ba", {{4, 2}}},
      {"ab,bc", {{2, 4}, {4, 3}}},
      {"cb,ab", {{3, 4}, {2, 4}}},
      {"ij,ij->ij", {{4, 3}, {4, 3}}},
      {"ij,ij->i", {{4, 3}, {4, 3}}},
      {"ij,ij->", {{4, 3}, {4, 3}}},
      {"ij,j->ij", {{4, 3}, {3}}},
      {"ijk,k->ij", {{4, 3, 2}, {2}}},
      {"ijk,jl->ikl", {{3, 2, 2}, {2, 2}}},
      {"ab,bc,cd->ad", {{2, 3}, {3, 2}, {2, 2}}},
      {"ab,bc,cd->da", {{2, 3}, {3, 2}, {2, 2}}},
      {"i,ij,j->", {{4}, {4, 3}, {3}}},
      {"bn,anm,bm->ba", {{3, 2}, {2, 2, 3}, {3, 3}}},
      {"ab,ac,ad->bcd", {{2, 3}, {2, 2}, {2, 2}}},
      {"ab,bc,cd,de->ae", {{2, 3}, {3, 2}, {2, 2}, {2, 2}}},
      {"a,b,c->abc", {{2}, {4}, {3}}},
      {"a,b,c,d->", {{2}, {3}, {2}, {2}}},
      {"...ij,...jk->...ik", {{2, 3, 4, 3}, {2, 3, 3, 2}}},
      {"...ij,jk->...ik", {{2, 3, 4, 3}, {3, 2}}},
      {"...i->...", {{2, 3, 4}}},
      {"i...->...", {{4, 2, 3}}},
      {"...,...", {{2, 3}, {2, 3}}},
      {"...a,...b->...ab", {{2, 3, 2}, {2, 3, 4}}},
      {"a...,a...->...", {{2, 2, 3}, {2, 2, 3}}},
      {"abc,cba->", {{2, 4, 3}, {3, 4, 2}}},
      {"abcd,cd->ab", {{2, 3, 2, 2}, {2, 2}}},
      {"abcd,ab->dc", {{2, 3, 2, 2}, {2, 3}}},
      {"AB,BC->CA", {{3, 2}, {2, 2}}},
      {"aA,Ab->ab", {{2, 3}, {3, 4}}},
      {"Aa,aB", {{3, 2}, {2, 2}}},
      {"ij,->ij", {{4, 3}, Shape{}}},
      {",->", {Shape{}, Shape{}}},
      {"aab,bc->ac", {{2, 2, 4}, {4, 3}}},
      {"ijj,jk->ik", {{4, 3, 3}, {3, 2}}},
      {"bhwc,hkc->bhwk", {{3, 2, 3, 2}, {2, 2, 2}}},
      {"bchw,oc->bohw", {{3, 2, 2, 3}, {2, 2}}},
      {"...ij,...jk->...ik", {{2, 1, 3, 4}, {5, 4, 2}}},
      {"ij,jk->ik", {{3, 1}, {1, 4}}},
      {"ij,ij->j", {{3, 2}, {1, 2}}},
      {"bij,bjk->bik", {{1, 2, 3}, {4, 3, 2}}},
      {"...i,...i->...", {{4, 3}, {2, 1, 3}}},
      {"i,...i->...i", {{3}, {2, 4, 3}}},
      {"...a,b->b...a", {{2, 3}, {4}}},
      {"ijk,kl,jl->i", {{2, 3, 4}, {4, 5}, {3, 5}}},
      {"...->", {{2, 3}}},
  };
  check_rows(rows);
}

TEST_CASE("einsum: what is wrong, in the user's terms") {
  const auto z = [](std::initializer_list<i64> s) { return zeros(Shape(s)); };
  CHECK_THROWS_WITH_AS(einsum("bnd,de->bne", z({2, 5, 16}), z({12, 4})),
                       "einsum \"bnd,de->bne\": letter 'd' is 16 in operand 0 [2, 5, 16] but 12 in operand 1 [12, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ij,jk->ik", z({2, 3})), "einsum \"ij,jk->ik\": the equation names 2 operands; got 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ij->i", z({2, 3, 4})), "einsum \"ij->i\": operand 0 must have 2 axes; got [2, 3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("i...jk->i", z({2, 3})),
                       "einsum \"i...jk->i\": operand 0 must have 3 or more axes; got [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ij->ik", z({2, 3})), "einsum \"ij->ik\": letter 'k' of the result must be in an operand",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ij->ii", z({2, 3})), "einsum \"ij->ii\": letter 'i' must be named once in the result",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("i1->i", z({2, 3})),
                       "einsum \"i1->i\": an equation has letters, ',', '...', '->' and spaces; got '1' at 1", Error);
  CHECK_THROWS_WITH_AS(einsum("i..->i", z({2, 3})),
                       "einsum \"i..->i\": an equation has letters, ',', '...', '->' and spaces; got '.' at 1", Error);
  CHECK_THROWS_WITH_AS(einsum("...i,...i->i", z({2, 3}), z({4, 3})),
                       "einsum \"...i,...i->i\": axis -1 of '...' is 2 in operand 0 [2, 3] but 4 in operand 1 [4, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("i,i->i", zeros({2}), zeros({2}, DType::f64)),
                       "einsum \"i,i->i\": floating operands must have one dtype; got f32 [2] and f64 [2]", DTypeError);
  CHECK_THROWS_WITH_AS(einsum("i,i->i", zeros({2}), zeros({2}, DType::i64)),
                       "einsum \"i,i->i\": integers must be cast before they meet f32 [2]", DTypeError);
}
