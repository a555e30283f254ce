#include "ops/einops.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <sstream>
#include <string>

#include "core/memory.h"
#include "core/print.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// ---- the same language by nested loops: every elementary axis is a name, and a number gets one of its own

using Groups = std::vector<std::vector<std::string>>;
using Sizes = std::map<std::string, i64>;

// "b (h 2) ..." with two axes for "..." -> {{"b"}, {"h", "<0"}, {".0"}, {".1"}}; `mark` keeps numbers of sides apart.
Groups read_side(const std::string& side, int ellipsis_rank, char mark, Sizes& sizes) {
  std::string spaced;
  for (char c : side) spaced += c == '(' || c == ')' ? std::string(" ") + c + ' ' : std::string(1, c);
  std::istringstream words(spaced);
  Groups groups;
  bool open = false;
  int numbers = 0;
  for (std::string w; words >> w;) {
    if (w == "(" || w == ")") {
      open = w == "(";
      if (open) groups.emplace_back();
      continue;
    }
    std::vector<std::string> axes{w};
    if (w == "...") {
      axes.clear();
      for (int i = 0; i < ellipsis_rank; ++i) axes.push_back("." + std::to_string(i));
    } else if (w == "1") {
      axes.clear();
      if (!open) groups.emplace_back();
    } else if (std::isdigit(static_cast<unsigned char>(w[0]))) {
      axes[0] = mark + std::to_string(numbers++);
      sizes[axes[0]] = std::stoll(w);
    }
    for (const std::string& a : axes) {
      if (!open) groups.emplace_back();
      groups.back().push_back(a);
    }
  }
  return groups;
}

double fold(const std::string& reduction, double a, double b) {
  if (reduction == "max") return std::max(a, b);
  if (reduction == "min") return std::min(a, b);
  return reduction == "prod" ? a * b : a + b;
}

// Position along one axis of a tensor whose elementary axes are at the positions `at`.
i64 joined(const std::vector<std::string>& group, const std::vector<std::string>& names, const Sizes& sizes,
           const std::vector<i64>& at) {
  i64 y = 0;
  for (const std::string& a : group)
    y = y * sizes.at(a) + at[static_cast<std::size_t>(std::find(names.begin(), names.end(), a) - names.begin())];
  return y;
}

Tensor naive(const std::string& pattern, Sizes sizes, const std::string& reduction, const Tensor& x) {
  const std::size_t arrow = pattern.find("->");
  const std::string left_text = pattern.substr(0, arrow);
  Sizes unused;
  const int named = static_cast<int>(read_side(left_text, 0, '<', unused).size());
  const Groups left = read_side(left_text, x.rank() - named, '<', sizes),
               right = read_side(pattern.substr(arrow + 2), x.rank() - named, '>', sizes);
  for (std::size_t i = 0; i < left.size(); ++i) {
    i64 rest = x.shape()[static_cast<int>(i)];
    std::string open;
    for (const std::string& a : left[i]) {
      if (!sizes.contains(a))
        open = a;
      else
        rest /= std::max<i64>(sizes[a], 1);
    }
    if (!open.empty()) sizes[open] = rest;
  }
  std::vector<std::string> names;
  Shape all, result;
  for (const auto& [a, n] : sizes) names.push_back(a), all.push_back(n);
  for (const auto& g : right) {
    i64 n = 1;
    for (const std::string& a : g) n *= sizes.at(a);
    result.push_back(n);
  }
  const bool extremum = reduction == "max" || reduction == "min";
  const double first = extremum              ? std::numeric_limits<double>::infinity() * (reduction == "max" ? -1 : 1)
                       : reduction == "prod" ? 1
                                             : 0;
  Tensor y = full(result, first, DType::f64);
  for_each_index(all, [&](const std::vector<i64>& at) {
    std::vector<i64> from, to;
    for (const auto& g : left) from.push_back(joined(g, names, sizes, at));
    for (const auto& g : right) to.push_back(joined(g, names, sizes, at));
    set_value(y, to, fold(reduction, value_at(y, to), value_at(x, from)));
  });
  if (reduction != "mean") return y;
  const double n = static_cast<double>(x.size()) / static_cast<double>(y.size());
  for_each_index(result, [&](const std::vector<i64>& at) { set_value(y, at, value_at(y, at) / n); });
  return y;
}

struct Row {
  std::string pattern;
  Shape shape;
  std::vector<AxisSize> sizes = {};
};

void check_rows(const std::string& op, const std::string& reduction, const std::vector<Row>& rows, bool ties = false) {
  u64 seed = 0;
  for (const Row& row : rows) {
    CAPTURE(row.pattern);
    Sizes sizes;
    for (const auto& [name, n] : row.sizes) sizes[std::string(name)] = n;
    const std::span<const AxisSize> given(row.sizes);
    Input input(row.shape);
    if (ties) input = Input::at(random_tensor(row.shape, 31));  // no element near another: differences stay one-sided
    check_op({.name = op,
              .op =
                  [&](Args x) {
                    if (op == "rearrange") return rearrange(x[0], row.pattern, given);
                    if (op == "repeat") return repeat(x[0], row.pattern, given);
                    return reduce(x[0], row.pattern, reduction, given);
                  },
              .reference = [&](Args x) { return naive(row.pattern, sizes, reduction, x[0]); },
              .inputs = {input},
              .seed = ++seed});
  }
}

}  // namespace

TEST_CASE("rearrange: moves, splits and joins axes, with gradients of order 1 and 2") {
  check_rows("rearrange", "sum",
             {{"b c h w -> b h w c", {2, 3, 2, 4}},
              {"b c h w -> b (c h w)", {2, 3, 2, 2}},
              {"b (c h1 w1) h w -> b c (h h1) (w w1)", {1, 8, 2, 3}, {{"h1", 2}, {"w1", 2}}},
              {"b c (h h1) (w w1) -> b (h1 w1 c) h w", {1, 2, 4, 6}, {{"h1", 2}, {"w1", 2}}},
              {"a b ... -> b (...) a", {2, 3, 2, 1, 3}},
              {"a ... b -> (b ... a)", {2, 3, 2}},
              {"... -> (...)", {2, 3, 2}},
              {"... -> ... 1", {}},
              {"...->...", {2, 3}},
              {"b n (h d qkv) -> (qkv) b h n d", {2, 3, 12}, {{"qkv", 3}, {"h", 2}}},
              {"(a b) -> a b", {6}, {{"a", 2}, {"b", 3}}},
              {"(a b)(c d)->(d b)()(a c)", {4, 6}, {{"b", 2}, {"c", 3}}},
              {"a 1 () b -> 1 b (1 a 1) ()", {2, 1, 1, 3}},
              {"1 a 001 -> a", {1, 3, 1}},
              {"-> 1", {}},
              {" -> ", {}},
              {"a aa aa1 a1a1 under_score A -> A under_score a1a1 aa1 aa a", {1, 2, 3, 1, 2, 2}},
              {"(a b) c -> a (b c)", {0, 3}, {{"b", 2}}},
              {"(a b c) -> a (c b)", {0}, {{"b", 0}, {"c", 2}, {"a", 3}}},
              {"a b -> b a", {2, 3}, {{"a", 2}}}});
}

TEST_CASE("reduce: every reduction, over named, anonymous and \"...\" axes") {
  const std::vector<Row> rows = {{"b c (h h2) (w w2) -> b h w c", {2, 1, 4, 2}, {{"h2", 2}, {"w2", 2}}},
                                 {"a b c d -> (d b) a", {2, 3, 1, 2}},
                                 {"b c h -> b c () 1", {2, 3, 2}},
                                 {"a ... -> ", {2, 3}},
                                 {"... a -> ...", {2, 2, 3}},
                                 {"... a -> (...) 1", {2, 2, 3}},
                                 {"b (n 3) 2 -> n b", {2, 6, 2}},
                                 {"(a b) -> b", {6}, {{"a", 2}}},
                                 {"a b -> b a", {2, 3}},
                                 {"a 1 -> ", {3, 1}}};
  for (const char* reduction : {"sum", "mean", "prod", "max", "min"}) {
    CAPTURE(reduction);
    check_rows("reduce", reduction, rows, true);
  }
  check_rows("reduce", "sum", {{"a b -> b", {0, 3}}, {"a b -> a", {0, 3}}});
}

TEST_CASE("reduce: any and all, integers, and ties that share the gradient evenly") {
  const Tensor mask = tensor({{1, 0, 1}, {1, 1, 1}}, DType::boolean);
  CHECK_EQ(reduce(mask, "a b -> a", "all").to_vector<i64>(), std::vector<i64>{0, 1});
  CHECK_EQ(reduce(mask, "a b -> b", "any").to_vector<i64>(), std::vector<i64>{1, 1, 1});
  CHECK_EQ(reduce(mask, "a b -> a b", "any").dtype(), DType::boolean);
  CHECK_EQ(reduce(mask, "a b -> a", "sum").to_vector<i64>(), std::vector<i64>{2, 3});
  CHECK_EQ(reduce(mask, "a b -> a b", "sum").dtype(), DType::i64);
  const Tensor big = tensor({{1, 2}, {3, 4}}, DType::i64) + tensor(i64{1} << 40, DType::i64);
  CHECK_EQ(reduce(big, "a b -> b", "max").to_vector<i64>(), std::vector<i64>{(i64{1} << 40) + 3, (i64{1} << 40) + 4});
  CHECK_EQ(rearrange(big, "a b -> (b a)").dtype(), DType::i64);

  Tensor x = tensor({{1, 1, 0}, {2, 0, 2}}, DType::f64);
  x.requires_grad_();
  const Tensor dx = grad(sum(reduce(x, "a b -> a", "max")), {x})[0];
  CHECK_EQ(dx.to_vector<double>(), std::vector<double>{0.5, 0.5, 0, 0.5, 0, 0.5});
}

TEST_CASE("repeat: new axes by name and by number") {
  check_rows("repeat", "sum",
             {{"h w -> h w c", {2, 3}, {{"c", 3}}},
              {"h w -> h (tile w)", {2, 3}, {{"tile", 2}}},
              {"a b c -> (a copy) b c ", {2, 3, 2}, {{"copy", 1}}},
              {"b h w c -> (h h2) (b w w2) c", {2, 2, 3, 1}, {{"h2", 2}, {"w2", 2}}},
              {"1 ...  -> 3 ... ", {1, 2, 3}},
              {"... c -> ... (copy1 c copy2)", {2, 3, 2}, {{"copy1", 1}, {"copy2", 2}}},
              {"a -> 2 (3 a 2)", {2}},
              {"-> 2 n", {}, {{"n", 3}}},
              {"(a b) -> b n a", {6}, {{"a", 2}, {"n", 2}}},
              {"a -> (a n)", {3}, {{"n", 0}}},
              {"a -> a b", {2}, {{"b", 2}, {"a", 2}}}});
}

TEST_CASE("einops: results are views where strides allow") {
  const Tensor x = random_tensor({2, 3, 4}, 1);
  const auto shares = [&](const Tensor& y) { return y.body().storage.get() == x.body().storage.get(); };
  CHECK(shares(rearrange(x, "a b c -> c a b")));
  CHECK(shares(rearrange(x, "a b c -> (a b) c")));
  CHECK(shares(rearrange(x, "a b (c d) -> d a b c", {{"c", 2}})));
  CHECK(shares(repeat(x, "a b c -> a 7 b c")));
  CHECK_FALSE(shares(rearrange(x, "a b c -> (c a) b")));
}

TEST_CASE("einops: a plan is made once per pattern, shape and sizes") {
  const Tensor x = random_tensor({4, 6}, 1), z = random_tensor({4, 9}, 1);
  const auto all = [&] {
    rearrange(x, "a (b c) -> c b a", {{"b", 3}});
    rearrange(x, "a (b c) -> c b a", {{"b", 2}});
    rearrange(z, "a (b c) -> c b a", {{"b", 3}});
    reduce(x, "a b -> b a", "sum");
    reduce(x, "a b -> b a", "max");  // the plan of the sum
    repeat(x, "a b -> b a");
  };
  all();
  const i64 made = einops_plans_made();
  all();
  CHECK_EQ(einops_plans_made(), made);
  rearrange(x, "a (b c)  -> c b a", {{"b", 3}});
  CHECK_EQ(einops_plans_made(), made + 1);
}

namespace {
Tensor some_index(const Shape& shape, i64 n) {
  std::vector<i64> v;
  for (i64 i = 0; i < shape.elements(); ++i) v.push_back(i * 7 % (n + 1) - 1);
  return from_vector(v, shape);
}
}  // namespace

TEST_CASE("einops: a structured one-hot stays one where only row axes are touched") {
  const i64 G = 2, T = 12, K = 2, E = 8, D = 3;
  const Tensor hot = one_hot(some_index({G, T, K}, E), E);
  Tensor gate = random_tensor({G, T, K, 1}, 3);
  gate.requires_grad_();
  const struct {
    const char* pattern;
    std::vector<AxisSize> sizes;
  } kept[] = {{"g t k e -> (g t) k e", {}},
              {"g t k e -> e g (t k)", {}},
              {"g (t s) k e -> (g s) e k t", {{"s", 3}}},
              {"... e -> (...) e", {}},
              {"g t k e -> 1 g t k () e", {}}};
  for (const auto& c : kept) {
    CAPTURE(c.pattern);
    const std::span<const AxisSize> sizes(c.sizes);
    const Tensor plain = rearrange(dense(cast(hot, DType::f64)) * gate, c.pattern, sizes);
    memory::AllocationLog log;
    const Tensor y = rearrange(gate * hot, c.pattern, sizes);
    CHECK(structure_of(y));
    CHECK_EQ(log.count_at_least(G * T * K * E), 0);
    CHECK_NE(to_string(y).find("one_hot("), std::string::npos);
    const Tensor w = random_tensor(y.shape(), 5);
    CHECK_LE(difference(grad(sum(dense(y) * w), {gate})[0], grad(sum(plain * w), {gate})[0]), 1e-12);
    CHECK_LE(difference(dense(y), plain), 1e-12);
  }
  const Tensor tiled = repeat(hot, "g t k e -> g t d k e", {{"d", D}}), summed = reduce(hot, "g t k e -> g t e", "sum");
  CHECK(structure_of(tiled));
  CHECK(structure_of(summed));
  CHECK_LE(difference(cast(dense(tiled), DType::f64), repeat(dense(cast(hot, DType::f64)), "g t k e -> g t 3 k e")), 0);
  CHECK_LE(difference(cast(dense(summed), DType::f64), sum(dense(cast(hot, DType::f64)), 2)), 0);
  // A class axis that is split or joined, and every other reduction: dense values, which are right.
  const Tensor joined = rearrange(hot, "g t k e -> g (t e) k");
  CHECK_FALSE(structure_of(joined));
  CHECK_LE(difference(cast(joined, DType::f64), rearrange(dense(cast(hot, DType::f64)), "g t k e -> g (t e) k")), 0);
  CHECK_EQ(reduce(hot, "g t k e -> g", "any").to_vector<i64>(), std::vector<i64>{1, 1});
}

TEST_CASE("op: repeat: no elements; the three ops name themselves") {
  check_op({.name = "repeat", .op = [](Args x) { return repeat(x[0], "a b -> b 3 a"); }, .inputs = {{0, 2}}});
  CHECK_THROWS_WITH_AS(rearrange(zeros({2}), "a b -> b a"), "rearrange \"a b -> b a\": x must have 2 axes; got x [2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(reduce(zeros({2}), "a b -> a", "sum"), "reduce \"a b -> a\": x must have 2 axes; got x [2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(repeat(zeros({2}), "a b -> a b 2"), "repeat \"a b -> a b 2\": x must have 2 axes; got x [2]",
                       ShapeError);
}
