// Every op of two tensors with every dtype, and with two floating dtypes, which none of them mixes.
#include "tests/support/dtype_table.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Pair {
  const char* op;
  Takes takes;
  Gives gives;
  std::function<Tensor(DType, DType)> call;
};
using Two = Tensor (*)(const Tensor&, const Tensor&);
Pair pair(const char* op, Takes t, Gives g, Two f) {
  return {op, t, g, [f](DType a, DType b) { return f(x23(a), y23(b)); }};
}

// The operands alike, then two floating dtypes, which no op mixes.
void check_pair(const Pair& p) {
  check_row({p.op, p.takes, p.gives, [&](DType d) { return p.call(d, d); }});
  for (const auto& [a, b] : {std::pair{DType::f32, DType::bf16}, {DType::bf16, DType::f64}, {DType::f64, DType::f32}}) {
    std::string text = "no error";
    try {
      p.call(a, b);
    } catch (const DTypeError& e) {
      text = e.what();
    }
    CAPTURE(std::string(p.op));
    CAPTURE(text);
    CHECK(text.rfind(p.op, 0) == 0);
    CHECK(text.find(name(a)) != std::string::npos);
    CHECK((p.takes == bools || p.takes == i64_only || text.find(name(b)) != std::string::npos));
  }
}

}  // namespace

TEST_CASE("dtypes: two operands, element by element") {
  for (const Pair& p : {pair("add", numbers, same, add),
                        pair("sub", numbers, same, sub),
                        pair("mul", numbers, same, mul),
                        pair("div", floats, same, div),
                        pair("pow", floats, same, pow),
                        pair("maximum", numbers, same, maximum),
                        pair("minimum", numbers, same, minimum),
                        pair("eq", everything, truth, eq),
                        pair("ne", everything, truth, ne),
                        pair("lt", everything, truth, lt),
                        pair("le", everything, truth, le),
                        pair("gt", everything, truth, gt),
                        pair("ge", everything, truth, ge),
                        pair("logical_and", bools, truth, logical_and),
                        pair("logical_or", bools, truth, logical_or),
                        pair("logical_xor", bools, truth, logical_xor),
                        pair("atan2", floats, same, atan2),
                        pair("logaddexp", floats, same, logaddexp),
                        pair("swiglu", floats, same, swiglu),
                        pair("geglu", floats, same, geglu)})
    check_pair(p);
  const Pair more[] = {
      {"lerp", floats, same, [](DType a, DType b) { return lerp(x23(a), y23(b), 0.5); }},
      {"lerp", floats, same, [](DType a, DType b) { return lerp(x23(a), y23(a), x23(b)); }},
      {"floor_divide", numbers, same, [](DType a, DType b) { return floor_divide(y23(a), ones({3}, b)); }},
      {"remainder", numbers, same, [](DType a, DType b) { return remainder(y23(a), ones({3}, b)); }},
      {"addcmul", floats, same, [](DType a, DType b) { return addcmul(x23(a), y23(a), x23(b)); }},
      {"where", everything, same, [](DType a, DType b) { return where(mask23(), x23(a), y23(b)); }},
      {"concat", everything, same,
       [](DType a, DType b) {
         return concat({x23(a), y23(b)}, 0);
       }},
      {"stack", everything, same,
       [](DType a, DType b) {
         return stack({x23(a), y23(b)}, 0);
       }},
      {"pack", everything, same,
       [](DType a, DType b) {
         return pack({x23(a), y23(b)}, "a *").y;
       }},
  };
  for (const Pair& p : more) check_pair(p);
}

TEST_CASE("dtypes: products, indexed sums, losses and layers of several operands") {
  const Pair pairs[] = {
      {"matmul", floats, same,
       [](DType a, DType b) {
         return matmul(x23(a), bits({3, 2}, b));
       }},
      {"linear", floats, same, [](DType a, DType b) { return linear(x23(a), y23(b), {}); }},
      {"grouped_matmul", floats, same,
       [](DType a, DType b) {
         return grouped_matmul(x23(a), bits({2, 3, 2}, b), tensor({0, 1, 2}, DType::i64));
       }},
      {"grouped_outer", floats, same,
       [](DType a, DType b) {
         return grouped_outer(x23(a), y23(b), tensor({0, 1, 2}, DType::i64));
       }},
      {"outer", numbers, same, [](DType a, DType b) { return outer(bits({3}, a), bits({2}, b)); }},
      {"addmm", floats, same,
       [](DType a, DType b) {
         return addmm(bits({2, 2}, a), x23(a), bits({3, 2}, b));
       }},
      {"bilinear", floats, same,
       [](DType a, DType b) {
         return bilinear(x23(a), y23(a), bits({2, 3, 3}, b));
       }},
      {"einsum", everything, counted,
       [](DType a, DType b) {
         return einsum("ab,cb->ac", {x23(a), y23(b)});
       }},
      {"integer_matmul", i64_only, same,
       [](DType a, DType b) {
         return integer_matmul(x23(a), bits({3, 2}, b));
       }},
      {"linear_scan", numbers, same, [](DType a, DType b) { return linear_scan(x23(a), y23(b), 1); }},
      {"scatter_add", numbers, same, [](DType a, DType b) { return scatter_add(x23(a), 1, index23(), y23(b)); }},
      {"index_add", numbers, same,
       [](DType a, DType b) {
         return index_add(x23(a), 0, tensor({1, 1}, DType::i64), y23(b));
       }},
      {"index_put", numbers, same,
       [](DType a, DType b) { return index_put(x23(a), {index23()}, x23(b)[0], {.accumulate = true}); }},
      {"scatter", everything, same, [](DType a, DType b) { return scatter(x23(a), 1, index23(), y23(b)); }},
      {"cosine_similarity", floats, same, [](DType a, DType b) { return cosine_similarity(x23(a), y23(b)); }},
      {"mse_loss", floats, same, [](DType a, DType b) { return mse_loss(x23(a), y23(b)); }},
      {"l1_loss", floats, same, [](DType a, DType b) { return l1_loss(x23(a), y23(b)); }},
      {"huber_loss", floats, same, [](DType a, DType b) { return huber_loss(x23(a), y23(b)); }},
      {"smooth_l1_loss", floats, same, [](DType a, DType b) { return smooth_l1_loss(x23(a), y23(b)); }},
      {"bce_loss", floats, same, [](DType a, DType b) { return bce_loss(x23(a), y23(b)); }},
      {"bce_with_logits_loss", floats, same, [](DType a, DType b) { return bce_with_logits_loss(x23(a), y23(b)); }},
      {"kl_div_loss", floats, same, [](DType a, DType b) { return kl_div_loss(x23(a), y23(b)); }},
      {"layer_norm", floats, same, [](DType a, DType b) { return layer_norm(x23(a), ones({3}, b), zeros({3}, b)); }},
      {"rms_norm", floats, same, [](DType a, DType b) { return rms_norm(x23(a), ones({3}, b)); }},
      {"conv2d", floats, same,
       [](DType a, DType b) {
         return conv2d(bits({1, 2, 4, 4}, a), bits({3, 2, 2, 2}, b));
       }},
      {"attention", floats, same, [](DType a, DType b) { return attention(x23(a), y23(a), x23(b)); }},
  };
  for (const Pair& p : pairs) check_pair(p);
}
