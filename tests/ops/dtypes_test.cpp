// Every op of one tensor with every dtype, what must be an index, and what adopts the dtype beside it. Ops of two
// tensors are in dtype_pairs_test.cpp.
#include <cmath>

#include "core/autograd.h"
#include "tests/support/dtype_table.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
// A function of one tensor, in a table row.
Row row(const char* op, Takes t, Gives g, Tensor (*f)(const Tensor&)) {
  return {op, t, g, [f](DType d) { return f(x23(d)); }};
}
}  // namespace

TEST_CASE("dtypes: functions of one tensor, element by element") {
  for (const Row& r : {row("relu", floats, same, relu),
                       row("gelu", floats, same, gelu),
                       row("gelu_tanh", floats, same, gelu_tanh),
                       row("silu", floats, same, silu),
                       row("log_sigmoid", floats, same, log_sigmoid),
                       row("softsign", floats, same, softsign),
                       row("mish", floats, same, mish),
                       row("neg", numbers, same, neg),
                       row("abs", numbers, same, abs),
                       row("square", numbers, same, square),
                       row("sign", numbers, same, sign),
                       row("exp", floats, same, exp),
                       row("expm1", floats, same, expm1),
                       row("log", floats, same, log),
                       row("log1p", floats, same, log1p),
                       row("sqrt", floats, same, sqrt),
                       row("rsqrt", floats, same, rsqrt),
                       row("reciprocal", floats, same, reciprocal),
                       row("sin", floats, same, sin),
                       row("cos", floats, same, cos),
                       row("tanh", floats, same, tanh),
                       row("erf", floats, same, erf),
                       row("erfc", floats, same, erfc),
                       row("normal_cdf", floats, same, normal_cdf),
                       row("entr", floats, same, entr),
                       row("sigmoid", floats, same, sigmoid),
                       row("floor", floats, same, floor),
                       row("ceil", floats, same, ceil),
                       row("round", floats, same, round),
                       row("isnan", floats, truth, isnan),
                       row("isfinite", floats, truth, isfinite),
                       row("logical_not", bools, truth, logical_not),
                       row("contiguous", everything, same, contiguous)})
    check_row(r);
  const Row with_numbers[] = {
      {"softplus", floats, same, [](DType d) { return softplus(x23(d)); }},
      {"elu", floats, same, [](DType d) { return elu(x23(d)); }},
      {"leaky_relu", floats, same, [](DType d) { return leaky_relu(x23(d)); }},
      {"clamp", numbers, same, [](DType d) { return clamp(x23(d), 1, 2); }},
      {"pow", floats, same, [](DType d) { return pow(x23(d), 2.5); }},
      {"pow", floats, same, [](DType d) { return pow(2.5, x23(d)); }},
      {"arithmetic", numbers, same, [](DType d) { return 2.0 * x23(d) + 1.0; }},
      {"dropout", floats, same, [](DType d) { return sum(dropout(x23(d), 1, a_draw())); }},
      {"masked_fill", everything, same, [](DType d) { return masked_fill(x23(d), mask23(), 1); }},
      {"cast", everything, Gives::f64, [](DType d) { return cast(x23(d), DType::f64); }},
  };
  for (const Row& r : with_numbers) check_row(r);
}

TEST_CASE("dtypes: reductions, running sums, order") {
  const Row rows[] = {
      {"sum", everything, counted, [](DType d) { return sum(x23(d), 1); }},
      {"prod", everything, counted, [](DType d) { return prod(x23(d), 1); }},
      {"mean", floats, same, [](DType d) { return mean(x23(d), 1); }},
      {"amax", numbers, same, [](DType d) { return amax(x23(d), 0); }},
      {"amin", numbers, same, [](DType d) { return amin(x23(d), 0); }},
      {"any", everything, truth, [](DType d) { return any(x23(d), 1); }},
      {"all", everything, truth, [](DType d) { return all(x23(d), 1); }},
      {"count_nonzero", everything, i64s, [](DType d) { return count_nonzero(x23(d), 1); }},
      {"sum_to", everything, counted, [](DType d) { return sum_to(x23(d), {3}); }},
      {"cumprod", everything, counted, [](DType d) { return cumprod(x23(d), 1); }},
      {"logcumsumexp", floats, same, [](DType d) { return logcumsumexp(x23(d), 1); }},
      {"var_mean", floats, same, [](DType d) { return var_mean(x23(d), 1).mean; }},
      {"max_along", everything, same, [](DType d) { return max_along(x23(d), 1).values; }},
      {"min_along", everything, i64s, [](DType d) { return min_along(x23(d), 1).indices; }},
      {"nonzero", everything, i64s, [](DType d) { return nonzero(x23(d)); }},
      {"cumsum", everything, counted, [](DType d) { return cumsum(x23(d), 1); }},
      {"var", floats, same, [](DType d) { return var(x23(d), 1); }},
      {"stddev", floats, same, [](DType d) { return stddev(x23(d), 1); }},
      {"norm", floats, same, [](DType d) { return norm(x23(d), 2, 1); }},
      {"softmax", floats, same, [](DType d) { return softmax(x23(d), 1); }},
      {"log_softmax", floats, same, [](DType d) { return log_softmax(x23(d), 1); }},
      {"logsumexp", floats, same, [](DType d) { return logsumexp(x23(d), 1); }},
      {"entropy", floats, same, [](DType d) { return entropy(x23(d)); }},
      {"sort", everything, same, [](DType d) { return sort(x23(d)).values; }},
      {"sort", everything, i64s, [](DType d) { return sort(x23(d)).indices; }},
      {"argsort", everything, i64s, [](DType d) { return argsort(x23(d), 1, true); }},
      {"top_k", everything, same, [](DType d) { return top_k(x23(d), 2).values; }},
      {"top_k", everything, i64s, [](DType d) { return top_k(x23(d), 2).indices; }},
      {"argmax", everything, i64s, [](DType d) { return argmax(x23(d), 1); }},
      {"argmin", everything, i64s, [](DType d) { return argmin(x23(d), 1); }},
      {"normalize", floats, same, [](DType d) { return normalize(x23(d)); }},
      {"reduce", everything, counted, [](DType d) { return reduce(x23(d), "a b -> a", "sum"); }},
  };
  for (const Row& r : rows) check_row(r);
}

TEST_CASE("dtypes: ops that only move values take every one") {
  const Row rows[] = {
      {"reshape", everything, same,
       [](DType d) {
         return reshape(x23(d), {3, 2});
       }},
      {"permute", everything, same,
       [](DType d) {
         return permute(x23(d), {1, 0});
       }},
      {"swap_axes", everything, same, [](DType d) { return swap_axes(x23(d), 0, 1); }},
      {"transpose", everything, same, [](DType d) { return contiguous(transpose(x23(d))); }},
      {"expand", everything, same,
       [](DType d) {
         return expand(x23(d), {2, 2, 3});
       }},
      {"unsqueeze", everything, same, [](DType d) { return unsqueeze(x23(d), 0); }},
      {"squeeze", everything, same,
       [](DType d) {
         return squeeze(bits({2, 1}, d), 1);
       }},
      {"flatten", everything, same, [](DType d) { return flatten(x23(d)); }},
      {"slice", everything, same,
       [](DType d) {
         return slice(x23(d), 1, {2, kEnd, -1});
       }},
      {"select", everything, same, [](DType d) { return select(x23(d), 1, -1); }},
      {"place", everything, same, [](DType d) { return place(x23(d), 1, 7, 1, 2); }},
      {"flip", everything, same, [](DType d) { return flip(x23(d), 1); }},
      {"diagonal", everything, same,
       [](DType d) {
         return diagonal(bits({3, 3}, d), 0, 1);
       }},
      {"place_diagonal", everything, same, [](DType d) { return place_diagonal(x23(d), 1, 2); }},
      {"concat", everything, same,
       [](DType d) {
         return concat({x23(d), y23(d)}, 1);
       }},
      {"stack", everything, same,
       [](DType d) {
         return stack({x23(d), y23(d)}, 1);
       }},
      {"split", everything, same,
       [](DType d) {
         return split(x23(d), {1, 2}, 1)[1];
       }},
      {"chunk", everything, same, [](DType d) { return chunk(x23(d), 2, 1)[0]; }},
      {"split_every", everything, same, [](DType d) { return split_every(x23(d), 2, 1)[0]; }},
      {"unbind", everything, same, [](DType d) { return unbind(x23(d))[1]; }},
      {"segment", everything, same, [](DType d) { return segment(x23(d), 1, -2, 2); }},
      {"move_axis", everything, same, [](DType d) { return contiguous(move_axis(x23(d), 0, 1)); }},
      {"tile", everything, same,
       [](DType d) {
         return tile(x23(d), {2, 1});
       }},
      {"repeat_interleave", everything, same, [](DType d) { return repeat_interleave(x23(d), index23()[0], 1); }},
      {"meshgrid", everything, same,
       [](DType d) {
         return meshgrid({x23(d)[0], x23(d)[1]})[0];
       }},
      {"diag_embed", everything, same, [](DType d) { return diag_embed(x23(d), 1); }},
      {"masked_select", everything, same, [](DType d) { return masked_select(x23(d), mask23()); }},
      {"roll", everything, same, [](DType d) { return roll(x23(d), 1, 1); }},
      {"pad", everything, same,
       [](DType d) {
         return pad(x23(d), {{1, 2}}, 1);
       }},
      {"tril", everything, same,
       [](DType d) {
         return tril(bits({3, 3}, d));
       }},
      {"triu", everything, same,
       [](DType d) {
         return triu(bits({3, 3}, d));
       }},
      {"where", everything, same, [](DType d) { return where(mask23(), x23(d), y23(d)); }},
      {"take_along", everything, same, [](DType d) { return take_along(x23(d), 0, index23()); }},
      {"gather", everything, same, [](DType d) { return gather(x23(d), 1, index23()); }},
      {"index_select", everything, same, [](DType d) { return index_select(x23(d), 0, index23()); }},
      {"index_at", everything, same, [](DType d) { return index_at(x23(d), {index23()}); }},
      {"embedding", everything, same, [](DType d) { return embedding(x23(d), index23()); }},
      {"scatter", everything, same, [](DType d) { return scatter(x23(d), 1, index23(), y23(d)); }},
      {"index_put", everything, same, [](DType d) { return index_put(x23(d), {index23()}, x23(d)[0]); }},
      {"rearrange", everything, same, [](DType d) { return rearrange(x23(d), "a b -> b a 1"); }},
      {"repeat", everything, same, [](DType d) { return repeat(x23(d), "a b -> a b 2"); }},
      {"pack", everything, same,
       [](DType d) {
         return pack({x23(d), y23(d)}, "a *").y;
       }},
      {"unpack", everything, same,
       [](DType d) {
         return unpack(x23(d), {{1}, {2}}, "a *")[1];
       }},
  };
  for (const Row& r : rows) check_row(r);
}

TEST_CASE("dtypes: losses, norms and layers take floats") {
  const auto image = [](DType d) { return bits({1, 2, 4, 4}, d); };
  const Row rows[] = {
      {"cross_entropy", floats, same,
       [](DType d) {
         return cross_entropy(x23(d), tensor({2, 0}, DType::i64));
       }},
      {"nll_loss", floats, same,
       [](DType d) {
         return nll_loss(x23(d), tensor({2, 0}, DType::i64));
       }},
      {"group_norm", floats, same,
       [](DType d) {
         return group_norm(bits({2, 4, 3}, d), 2, {}, {});
       }},
      {"batch_norm", floats, same, [](DType d) { return batch_norm(x23(d), {}, {}); }},
      {"layer_norm", floats, same, [](DType d) { return layer_norm(x23(d), {}, {}); }},
      {"rms_norm", floats, same, [](DType d) { return rms_norm(x23(d), {}); }},
      {"rms_norm_l2", floats, same, [](DType d) { return rms_norm_l2(x23(d), ones({3}, d)); }},
      {"max_pool2d", floats, same, [&](DType d) { return max_pool2d(image(d), 2); }},
      {"avg_pool2d", floats, same, [&](DType d) { return avg_pool2d(image(d), 2); }},
      {"unfold", floats, same, [&](DType d) { return unfold(image(d), 2); }},
      {"fold", floats, same,
       [](DType d) {
         return fold(bits({4, 4}, d), 3, 2);
       }},
      {"patch_embed", floats, same,
       [&](DType d) {
         return patch_embed(image(d), bits({3, 2, 2, 2}, d));
       }},
      {"global_norm", floats, Gives::f64,
       [](DType d) {
         const Tensor xs[] = {x23(d)};
         return global_norm(xs);
       }},
  };
  for (const Row& r : rows) check_row(r);
}

TEST_CASE("dtypes: random numbers are floats") {
  for (const DType d : kDTypes) {
    if (is_float(d)) {
      CHECK(random_uniform({4}, 0, 1, a_draw(), d).dtype() == d);
      CHECK(random_normal({4}, 0, 1, a_draw(), d).dtype() == d);
      continue;
    }
    const std::string got = std::string(": x must be f32, f64 or bf16; got ") + name(d);
    CHECK_THROWS_WITH_AS(random_uniform({4}, 0, 1, a_draw(), d), ("random_uniform" + got).c_str(), DTypeError);
    CHECK_THROWS_WITH_AS(random_normal({4}, 0, 1, a_draw(), d), ("random_normal" + got).c_str(), DTypeError);
  }
}

TEST_CASE("dtypes: what is an index must be an integer") {
  const Tensor x = x23(DType::f32);
  const std::pair<const char*, One> rows[] = {
      {"take_along",
       [&](DType d) {
         return take_along(x, 1, bits({2, 3}, d));
       }},
      {"gather",
       [&](DType d) {
         return gather(x, 1, bits({2, 3}, d));
       }},
      {"index_select", [&](DType d) { return index_select(x, 1, bits({2}, d)); }},
      {"index_at", [&](DType d) { return index_at(x, {bits({2}, d)}); }},
      {"embedding", [&](DType d) { return embedding(x, bits({2}, d)); }},
      {"scatter",
       [&](DType d) {
         return scatter(x, 1, bits({2, 3}, d), x);
       }},
      {"scatter_add",
       [&](DType d) {
         return scatter_add(x, 1, bits({2, 3}, d), x);
       }},
      {"index_add", [&](DType d) { return index_add(x, 0, bits({2}, d), x); }},
      {"index_put", [&](DType d) { return index_put(x, {bits({2}, d)}, x[0]); }},
      {"bincount", [&](DType d) { return bincount(bits({2}, d)); }},
      {"repeat_interleave", [&](DType d) { return repeat_interleave(x, bits({2}, d), 0); }},
      {"one_hot", [&](DType d) { return one_hot(bits({2}, d), 3); }},
      {"wrap_index", [&](DType d) { return wrap_index(bits({2}, d), 3); }},
  };
  for (const auto& [op, call] : rows)
    for (const DType d : kDTypes) {
      CAPTURE(op);
      CAPTURE(std::string(name(d)));
      std::string text;
      try {
        call(d);
      } catch (const DTypeError& e) {
        text = e.what();
      }
      CHECK((is_int(d) ? text.empty() : text.rfind(op, 0) == 0 && text.find(name(d)) != std::string::npos));
    }
}

TEST_CASE("dtypes: numbers and bool tensors adopt the dtype beside them") {
  for (const DType d : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64}) {
    CHECK((x23(d) * mask23()).dtype() == d);
    CHECK((mask23() + x23(d)).dtype() == d);
    CHECK((x23(d) - 3.0).dtype() == d);
    CHECK((one_hot(index23(), 2) * unsqueeze(x23(d), -1)).dtype() == d);
  }
}

TEST_CASE("dtypes: sums of many bf16 numbers are added up in f32 or wider, and rounded once") {
  // Added up in bf16, ones stop at 256.
  const i64 n = 1000;
  const Tensor ones_n = ones({n}, DType::bf16), zero = zeros({1}, DType::bf16), index = zeros({n}, DType::i64);
  for (const Tensor& y : {sum(ones_n), sum_to(ones_n, {}), matmul(ones_n, ones_n), einsum("i,i->", {ones_n, ones_n}),
                          cumsum(ones_n, 0)[-1], index_add(zero, 0, index, ones_n)[0], norm(ones_n, 1),
                          square(norm(ones_n)), mean(ones_n) * 1000.0, bincount(index, ones_n)[0],
                          linear_scan(ones_n, ones_n, 0)[-1], sum(expand(ones_n[0], {n}))}) {
    CHECK(y.dtype() == DType::bf16);
    CHECK(std::abs(y.item() - 1000) <= 8);  // 1000 is a bf16; sqrt(1000), squared, is not
  }
  const Tensor b = zeros({1}, DType::bf16).requires_grad_(), table = zeros({2, 1}, DType::bf16).requires_grad_();
  CHECK(grad(sum(ones_n * b), {b})[0].item() == 1000);  // the engine sums a gradient back to a broadcast operand
  CHECK(grad(sum(embedding(table, index)), {table})[0].to_vector<float>() == std::vector<float>{1000, 0});
  CHECK(prod(full({n}, 1 + 0x1p-7, DType::bf16)).item() == doctest::Approx(std::pow(1 + 0x1p-7, 1000)).epsilon(0x1p-7));
}
