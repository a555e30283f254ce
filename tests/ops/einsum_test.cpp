#include "ops/einsum.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <map>
#include <random>

#include "ops/arithmetic.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/cast.h"
#include "ops/einsum_parse.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Nested loops over every letter, with its own tiny parser (letters only, "->" given).
Tensor naive_einsum(const std::string& equation, Args xs) {
  std::vector<std::string> in(1);
  std::string out;
  bool right = false;
  for (std::size_t i = 0; i < equation.size(); ++i) {
    const char c = equation[i];
    if (c == '-')
      right = true, ++i;
    else if (c == ',')
      in.emplace_back();
    else
      (right ? out : in.back()) += c;
  }
  std::map<char, i64> size;
  for (std::size_t i = 0; i < in.size(); ++i)
    for (std::size_t k = 0; k < in[i].size(); ++k)
      size[in[i][k]] = std::max(size[in[i][k]], xs[i].shape()[static_cast<int>(k)]);
  std::string letters = out;
  for (const auto& [c, n] : size)
    if (out.find(c) == std::string::npos) letters += c;
  Shape all, result;
  for (char c : letters) all.push_back(size[c]);
  for (char c : out) result.push_back(size[c]);
  Tensor y = zeros(result, DType::f64);
  for_each_index(all, [&](const std::vector<i64>& at) {
    double product = 1;
    for (std::size_t i = 0; i < in.size(); ++i) {
      std::vector<i64> where;
      for (std::size_t k = 0; k < in[i].size(); ++k)
        where.push_back(xs[i].shape()[static_cast<int>(k)] == 1 ? 0 : at[letters.find(in[i][k])]);
      product *= value_at(xs[i], where);
    }
    const std::vector<i64> to(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(out.size()));
    set_value(y, to, value_at(y, to) + product);
  });
  return y;
}

struct Row {
  const char* equation;
  std::vector<Shape> shapes;
};

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
  u64 seed = 0;
  for (const Row& row : rows) {
    CAPTURE(row.equation);
    std::vector<Input> inputs(row.shapes.begin(), row.shapes.end());
    check_op({.name = "einsum",
              .op = [&](Args x) { return einsum(row.equation, x); },
              .reference = [&](Args x) { return naive_einsum(row.equation, x); },
              .inputs = inputs,
              .seed = ++seed});
  }
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

TEST_CASE("einsum: random strings never crash the parser") {
  std::mt19937_64 engine(7);
  const std::string alphabet = "ab.,-> Z1\n\xff";
  const std::vector<Shape> shapes{{2, 3}, {3, 2}};
  i64 accepted = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string s;
    for (u64 n = engine() % 14; n > 0; --n) s += alphabet[engine() % alphabet.size()];
    try {
      accepted += Equation::parse(s, shapes).operands.size() == 2;
    } catch (const Error&) {
    }
  }
  CHECK_GT(accepted, 0);
}

TEST_CASE("einsum_path: the cheaper order is found, and the plan says what it is") {
  const EinsumPath path = einsum_path("ab,bc,cd->ad", {zeros({2, 1000}), zeros({1000, 2}), zeros({2, 1000})});
  CHECK_EQ(path.steps.size(), 2);
  CHECK_EQ(path.steps[0].equation, "ab,bc->ac");
  CHECK_EQ(path.steps[0].kind, "gemm");
  CHECK_EQ(path.flops, 2.0 * (2 * 1000 * 2 + 2 * 2 * 1000));
  CHECK_EQ(path.largest, 2000);
  const Tensor hot = one_hot(zeros({4, 6}, DType::i64), 1000);
  CHECK_EQ(einsum_path("gpn,gnd->gpd", {hot, zeros({4, 1000, 8})}).steps[0].kind, "gather");
  CHECK_EQ(einsum_path("gpn,gpd->gnd", {hot, zeros({4, 6, 8})}).steps[0].kind, "scatter");
  CHECK_EQ(einsum_path("gpn,gnd->gpd", {hot, zeros({4, 1000, 8})}).flops, 2.0 * 4 * 6 * 8);
}
