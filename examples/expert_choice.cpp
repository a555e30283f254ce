// Expert choice routing, written out with one-hot matrices, step by step.
//
// A mixture of experts has to decide which expert works on which token. In expert choice routing (arXiv:2202.09368) the
// experts decide: each picks the tokens that suit it best, so all experts have equally much to do, and a token is worked
// on by several experts, by one, or by none. With one-hot matrices the whole layer is a handful of sums of products. This
// program writes them twice, as einsum and as matrix products, and checks that both agree; then it compares the result
// with the layer of the library, and its gradients too.
//
// Letters: b rows of a batch, t tokens of a row, c features of a token, e experts, l picks of an expert, h hidden
// features of an expert. A tensor's comment lists its axes: x is [b t c].
#include <fmt/format.h>

#include <cmath>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

int disagreements = 0;

// Says whether two ways of computing the same thing agree, in double precision to 1e-12.
void check_equal(const char* what, const Tensor& a, const Tensor& b) {
  const bool same_shape = a.shape() == b.shape();
  const double apart = same_shape ? amax(abs(a.detach() - b.detach())).item() : INFINITY;
  const bool ok = apart <= 1e-12;
  if (!ok) ++disagreements;
  fmt::print("  {:62} {:>8.1e}  {}\n", what, apart, ok ? "equal" : "DIFFERENT");
}

}  // namespace

int main() {
  // Two rows of 12 tokens with 8 features. Four experts, each with room for as many tokens per row as if every token
  // went to exactly one expert: 12 / 4 = 3.
  const i64 B = 2, T = 12, C = 8, E = 4, H = 16, L = T / E;
  Random random(1);
  const auto normal = [&](const Shape& shape) { return random_normal(shape, 0, 1, random.next(), DType::f64); };
  Tensor x = normal({B, T, C}), w_gate = normal({E, C}) / std::sqrt(8.0), w1 = normal({E, C, H}) / std::sqrt(8.0),
         w2 = normal({E, H, C}) / 4.0;
  for (Tensor* leaf : {&x, &w_gate, &w1, &w2}) leaf->requires_grad_();

  // Every expert has a score for every token, and a token's scores become shares of the experts.
  const Tensor scores = einsum("btc,ec->bte", x, w_gate);
  const Tensor shares = softmax(scores, -1);        // [b t e]
  const Tensor suits = permute(shares, {0, 2, 1});  // [b e t]

  // An expert picks the tokens with the largest shares. The picks are numbers of tokens, through which no gradient
  // flows; the shares themselves do have one, and it is how the router learns.
  const auto [gates, picked] = top_k(suits, L, -1);  // [b e l], both

  // The same picks as a matrix: row l of expert e has a one at the token picked. Products with it copy tokens. The
  // library keeps only the numbers of the tokens, and einsum knows that such a product is a gather.
  const Tensor pick = one_hot(picked, T);  // [b e l t]
  const Tensor ones_and_zeros = cast(dense(pick), DType::f64);

  fmt::print("Tokens into the slots of experts\n");
  const Tensor slots = einsum("belt,btc->belc", pick, x);
  check_equal("slots: einsum = matrix product", slots, matmul(ones_and_zeros, unsqueeze(x, 1)));
  for (i64 b = 0; b < B; ++b)
    check_equal(
        b == 0 ? "slots of row 0 = the tokens by their numbers" : "slots of row 1 = the tokens by their numbers",
        slots[b], index_select(x[b], 0, picked[b]));

  // Every expert is a small network of its own, with weights [e c h] and [e h c].
  fmt::print("Experts\n");
  const Tensor hidden = einsum("belc,ech->belh", slots, w1);
  check_equal("hidden: einsum = matrix product", hidden, matmul(slots, w1));
  const Tensor out = einsum("belh,ehc->belc", gelu(hidden), w2);
  check_equal("out: einsum = matrix product", out, matmul(gelu(hidden), w2));
  Tensor one_by_one = zeros({B, 0, L, C}, DType::f64);
  for (i64 e = 0; e < E; ++e) {
    const Tensor own = matmul(gelu(matmul(select(slots, 1, e), w1[e])), w2[e]);
    one_by_one = concat({one_by_one, unsqueeze(own, 1)}, 1);
  }
  check_equal("out: all experts at once = one after the other", out, one_by_one);

  // What an expert made of a token counts as much as the token's share of that expert.
  fmt::print("Back to the tokens\n");
  const Tensor weighted = einsum("bel,belc->belc", gates, out);
  check_equal("weighted: einsum = product with broadcasting", weighted, unsqueeze(gates, -1) * out);
  const Tensor y = einsum("belc,belt->btc", weighted, pick);
  check_equal("y: einsum = sum over experts of transposed products", y,
              sum(matmul(transpose(ones_and_zeros), weighted), 1));

  // Gates can as well be put into the matrix of ones: this is the combine tensor of the papers.
  const Tensor combine = unsqueeze(gates, -1) * pick;  // [b e l t]
  check_equal("y: gates on the outputs = gates in the matrix", y, einsum("belc,belt->btc", out, combine));
  check_equal("gates = the one-hot product of the shares", gates, einsum("belt,bet->bel", pick, suits));

  // The library's layer: a router with a set of experts.
  Init init(random, DType::f64);
  MoE moe(std::make_unique<ExpertChoiceRouter>(C, ExpertChoiceRouter::Options{.experts = E, .capacity = {.factor = 1}},
                                               init),
          std::make_unique<FeedForwardExperts>(C, FeedForwardExperts::Options{.experts = E, .hidden = H}, init));
  auto& router = dynamic_cast<ExpertChoiceRouter&>(*moe.router);
  auto& experts = dynamic_cast<FeedForwardExperts&>(*moe.experts);
  router.gate.weight = w_gate, experts.w1 = w1, experts.w2 = w2;
  Context context;
  const Tensor of_layer = moe.forward(x, context);
  fmt::print("The layer of the library\n");
  check_equal("y: written out = MoE(ExpertChoiceRouter, FeedForwardExperts)", y, of_layer);

  // Gradients of the matrices, of the one-hots as gathers and of the layer are the same.
  const Tensor matrices =
      sum(matmul(transpose(ones_and_zeros),
                 unsqueeze(gates, -1) * matmul(gelu(matmul(matmul(ones_and_zeros, unsqueeze(x, 1)), w1)), w2)),
          1);
  const std::vector<Tensor> leaves{x, w_gate, w1, w2};
  const char* names[] = {"x", "w_gate", "w1", "w2"};
  const auto gradients = [&](const Tensor& result) {
    return grad(sum(square(result)), leaves, {.retain_graph = true});
  };
  const std::vector<Tensor> by_einsum = gradients(y), by_matrices = gradients(matrices), by_layer = gradients(of_layer);
  fmt::print("Gradients of sum(y * y)\n");
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    check_equal(fmt::format("{}: einsum = matrix products", names[i]).c_str(), by_einsum[i], by_matrices[i]);
    check_equal(fmt::format("{}: einsum = the layer", names[i]).c_str(), by_einsum[i], by_layer[i]);
  }

  const Tensor times = sum(ones_and_zeros, Axes{1, 2});  // [b t]: experts that picked each token
  fmt::print("\nExperts that picked each token of row 0: ");
  for (const double n : times[0].to_vector<double>()) fmt::print("{:.0f} ", n);
  fmt::print("\n{}\n", disagreements == 0 ? "All equal." : "Some are DIFFERENT.");
  return disagreements == 0 ? 0 : 1;
}
