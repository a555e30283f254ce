// Structured one-hots in einsum against the dense form: values, gradients of order 1 and 2, and what is never
// allocated.
#include <doctest/doctest.h>

#include <functional>
#include <random>

#include "core/memory.h"
#include "ops/arithmetic.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/cast.h"
#include "ops/einsum.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Tensor random_index(const Shape& shape, i64 n, std::mt19937_64& engine) {
  std::vector<i64> v(static_cast<std::size_t>(shape.elements()));
  for (i64& x : v) x = engine() % 5 == 0 ? -1 : static_cast<i64>(engine() % static_cast<u64>(n));
  return from_vector(v, shape);
}
// Positive weights that sum to 1 along the last axis.
Tensor gates(const Tensor& x) {
  const Tensor e = exp(x);
  return e / sum(e, -1, keep_dims);
}
// The layer with its one-hots as they are, or as plain f64 tensors.
using Layer = std::function<Tensor(const std::vector<Tensor>& x, bool structured)>;
Tensor shown(const Tensor& hot, bool structured) { return structured ? hot : dense(cast(hot, DType::f64)); }

struct Gradients {
  Tensor y;
  std::vector<Tensor> first, second;
};
Gradients differentiate(const Layer& layer, const std::vector<Tensor>& values, bool structured) {
  std::vector<Tensor> x;
  for (const Tensor& v : values) {
    x.push_back(v.detach());
    x.back().requires_grad_();
  }
  Gradients g;
  g.y = layer(x, structured);
  const Tensor y = dense(g.y);
  g.first = grad(sum(y * y * random_tensor(y.shape(), 77)), x, {.create_graph = true});
  Tensor total = scalar(0, DType::f64);
  for (std::size_t i = 0; i < x.size(); ++i)
    total = total + sum(g.first[i] * g.first[i] * random_tensor(x[i].shape(), 78 + i));
  g.second = grad(total, x);
  return g;
}

// Structured equals dense, and no storage of at least `forbidden` elements is made on the way.
void compare(const std::string& name, const Layer& layer, const std::vector<Tensor>& inputs, i64 forbidden) {
  CAPTURE(name);
  const Gradients plain = differentiate(layer, inputs, false);
  const i64 dense_before = times_made_dense();
  memory::AllocationLog log;
  const Gradients hot = differentiate(layer, inputs, true);
  CHECK_EQ(times_made_dense(), dense_before);
  CHECK_EQ(log.count_at_least(forbidden), 0);
  CHECK_LE(difference(hot.y, plain.y), 1e-12);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    CAPTURE(i);
    CHECK_LE(difference(hot.first[i], plain.first[i]), 1e-12);
    CHECK_LE(difference(hot.second[i], plain.second[i]), 1e-12);
    CHECK_GT(difference(plain.first[i], zeros_like(plain.first[i])), 1e-6);  // the comparison is of something
    CHECK_GT(difference(plain.second[i], zeros_like(plain.second[i])), 1e-9);
  }
}

}  // namespace

TEST_CASE("structured einsum: dispatch gpn,gnd->gpd and gated combine gpn,gpd->gnd") {
  const i64 G = 2, P = 24, N = 40, D = 6;
  std::mt19937_64 engine(5);
  const Tensor hot = one_hot(random_index({G, P}, N, engine), N);
  compare(
      "gpn",
      [&](const std::vector<Tensor>& x, bool structured) {
        const Tensor dispatch = shown(hot, structured);
        const Tensor out = einsum("gpn,gnd->gpd", dispatch, x[0]) * x[2];
        return einsum("gpn,gpd->gnd", unsqueeze(gates(x[1]), -1) * dispatch, out);
      },
      {random_tensor({G, N, D}, 1), random_tensor({G, P}, 2), random_tensor({G, P, D}, 3)}, G * P * N);
}

TEST_CASE("structured einsum: bnd,bnec->becd and becd,bnec->bnd with router_probs[.., None] * dispatch") {
  const i64 B = 2, N = 20, E = 5, C = 9, D = 4;
  std::mt19937_64 engine(9);
  Tensor position = full({B, N, E}, -1, DType::i64);  // top-2 of random experts, first come
  for (i64 b = 0; b < B; ++b) {
    std::vector<i64> used(E, 0);
    for (i64 n = 0; n < N; ++n)
      for (int k = 0; k < 2; ++k) {
        const i64 e = static_cast<i64>(engine() % E);
        if (value_at(position, {b, n, e}) < 0 && used[static_cast<std::size_t>(e)] < C)
          set_value(position, {b, n, e}, static_cast<double>(used[static_cast<std::size_t>(e)]++));
      }
  }
  const Tensor hot = one_hot(position, C);
  compare(
      "bnec",
      [&](const std::vector<Tensor>& x, bool structured) {
        const Tensor dispatch = shown(hot, structured);
        const Tensor probs = gates(einsum("bnd,de->bne", x[0], x[1]));
        const Tensor slots = einsum("bnd,bnec->becd", x[0], dispatch);
        const Tensor y = einsum("becd,edf->becf", slots, x[2]) * slots;
        return einsum("becd,bnec->bnd", y, unsqueeze(probs, -1) * dispatch);
      },
      {random_tensor({B, N, D}, 1), random_tensor({D, E}, 2), random_tensor({E, D, D}, 3)}, B * N * E * C);
}

TEST_CASE("structured einsum: the notebook's belt,btc->belc and belc,belt->btc, gates gathered by bte,belt->bel") {
  const i64 B = 2, E = 3, L = 7, T = 30, C = 4;
  std::mt19937_64 engine(3);
  const Tensor hot = one_hot(random_index({B, E, L}, T, engine), T);
  compare(
      "belt",
      [&](const std::vector<Tensor>& x, bool structured) {
        const Tensor onehot = shown(hot, structured);
        const Tensor probs = gates(einsum("btc,ce->bte", x[0], x[1]));
        const Tensor in = einsum("belt,btc->belc", onehot, x[0]);
        const Tensor y = einsum("belc,ecf->belf", in, x[2]) * in;
        const Tensor gate = einsum("bte,belt->bel", probs, onehot);
        return einsum("belc,belt->btc", y * unsqueeze(gate, -1), onehot);
      },
      {random_tensor({B, T, C}, 1), random_tensor({C, E}, 2), random_tensor({E, C, C}, 3)}, B * E * L * T);
}

TEST_CASE("structured einsum: GShard's tk,tke,tkc->tec, two one-hots with k summed away") {
  const i64 T = 18, K = 2, E = 4, C = 8, D = 3;
  std::mt19937_64 engine(4);
  const Tensor experts = one_hot(random_index({T, K}, E, engine), E),
               places = one_hot(random_index({T, K}, C, engine), C);
  compare(
      "tec",
      [&](const std::vector<Tensor>& x, bool structured) {
        const Tensor oe = shown(experts, structured), oc = shown(places, structured);
        const Tensor combine = einsum("tk,tke,tkc->tec", gates(x[1]), oe, oc),
                     dispatch = einsum("tke,tkc->tec", oe, oc);
        CHECK_EQ(static_cast<bool>(structure_of(combine)), structured);
        const Tensor slots = einsum("td,tec->ecd", x[0], dispatch);
        const Tensor y = einsum("ecd,edf->ecf", slots, x[2]) * slots;
        return einsum("tec,ecd->td", combine, y);
      },
      {random_tensor({T, D}, 1), random_tensor({T, K}, 2), random_tensor({E, D, D}, 3)}, T * E * C);
}

TEST_CASE("structured einsum: three operands at once, features before the class, a class that stays") {
  const i64 B = 3, S = 6, N = 11, D = 5;
  std::mt19937_64 engine(6);
  const Tensor hot = one_hot(random_index({B, S}, N, engine), N);
  const std::vector<Tensor> inputs{random_tensor({D, N}, 1), random_tensor({B, S}, 2)};
  compare(
      "one step",
      [&](const std::vector<Tensor>& x, bool s) { return einsum("bsn,dn,bs->bd", shown(hot, s), x[0], x[1]); }, inputs,
      B * S * N);
  compare(
      "class stays",
      [&](const std::vector<Tensor>& x, bool s) { return einsum("bsn,dn,bs->dn", shown(hot, s), x[0], x[1]); }, inputs,
      B * S * N);
  compare(
      "new axis",
      [&](const std::vector<Tensor>& x, bool s) { return einsum("bsn,dn,bs->dsb", shown(hot, s), x[0], x[1]); }, inputs,
      B * S * N);
  compare(
      "ellipsis",
      [&](const std::vector<Tensor>& x, bool s) { return einsum("...n,dn,...->d...", shown(hot, s), x[0], x[1]); },
      inputs, B * S * N);
}

namespace {

// A random equation over row letters r, s, class letters n, m of one or two one-hots, and feature letters d, e of dense
// operands.
struct RandomEquation {
  std::string text;
  std::vector<std::string> operands;
  std::string result;
};
RandomEquation random_equation(std::mt19937_64& engine, int hots) {
  RandomEquation e;
  e.operands.push_back("rsn");
  if (hots > 1) e.operands.push_back(engine() % 2 ? "rsm" : "sm");
  const std::string letters = hots > 1 ? "rsnmde" : "rsnde";
  const int dense_count = 1 + static_cast<int>(engine() % 2);
  for (int i = 0; i < dense_count; ++i) {
    std::string term;
    for (char c : letters)
      if (engine() % 2) term += c;
    if (term.empty()) term = "d";
    std::shuffle(term.begin(), term.end(), engine);
    e.operands.push_back(term);
  }
  for (char c : letters) {
    bool present = false;
    for (const std::string& t : e.operands) present |= t.find(c) != std::string::npos;
    if (present && engine() % 2) e.result += c;
  }
  std::shuffle(e.result.begin(), e.result.end(), engine);
  for (std::size_t i = 0; i < e.operands.size(); ++i) e.text += (i ? "," : "") + e.operands[i];
  e.text += "->" + e.result;
  return e;
}

}  // namespace

TEST_CASE(
    "structured einsum: 150 random equations, one or two one-hots, scaled or not: equal to dense to second order") {
  std::mt19937_64 engine(123);
  const std::map<char, i64> size{{'r', 3}, {'s', 4}, {'n', 5}, {'m', 3}, {'d', 2}, {'e', 2}};
  for (int trial = 0; trial < 150; ++trial) {
    const int hots = 1 + trial % 2;
    const RandomEquation e = random_equation(engine, hots);
    CAPTURE(e.text);
    std::vector<Tensor> tables, inputs;
    for (int h = 0; h < hots; ++h) {
      Shape rows;
      const std::string& term = e.operands[static_cast<std::size_t>(h)];
      for (char c : term.substr(0, term.size() - 1)) rows.push_back(size.at(c));
      tables.push_back(one_hot(random_index(rows, size.at(term.back()), engine), size.at(term.back())));
      inputs.push_back(random_tensor(rows, engine()));
    }
    for (std::size_t i = static_cast<std::size_t>(hots); i < e.operands.size(); ++i) {
      Shape s;
      for (char c : e.operands[i]) s.push_back(size.at(c));
      inputs.push_back(random_tensor(s, engine()));
    }
    const bool scaled = trial % 3 != 0;
    const Layer layer = [&](const std::vector<Tensor>& x, bool structured) {
      std::vector<Tensor> operands;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const bool hot = i < tables.size();
        operands.push_back(hot ? shown(scaled ? unsqueeze(x[i], -1) * tables[i] : tables[i], structured) : x[i]);
      }
      return einsum(e.text, operands);
    };
    const Gradients plain = differentiate(layer, inputs, false), hot = differentiate(layer, inputs, true);
    CHECK_LE(difference(hot.y, plain.y), 1e-12);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      CHECK_LE(difference(hot.first[i], plain.first[i]), 1e-12);
      CHECK_LE(difference(hot.second[i], plain.second[i]), 1e-12);
    }
  }
}
