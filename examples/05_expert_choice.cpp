// Lesson 5: expert choice routing, step by step.
//
// A *mixture of experts* is a layer of many small networks, the *experts*, of which each token is worked on by a few. A
// *router* decides who works on what, by scores: a learned vector per expert, and its scalar product with the token. In
// expert choice routing (arXiv:2202.09368) the experts decide: each picks the C tokens that suit it best. C is its
// *capacity*. All experts then have equally much to do, and a token is worked on by several experts, by one, or by none.
//
//   shares_ne = softmax over e of (x_n . gate_e)        how much token n counts for expert e, in all 1
//   y_n = sum over e, c of  dispatch_ecn shares_ne expert_e(slot_ec),     slot_ec = sum_n dispatch_ecn x_n
//
// The layer is a handful of sums of products. Each is written twice here, as einsum and as matrix products, and both must
// agree; in the end so must the layer of the library, and all gradients.
//
// Letters: G rows of a batch (groups), N tokens of a row, D numbers of a token, E experts, C slots of an expert, F hidden
// numbers of an expert. A comment lists the axes of a tensor: x is [G N D].
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

int main() {
  begin(5, "expert choice routing, step by step");

  // Two rows of 12 tokens of 8 numbers. Each of four experts has room for 12 / 4 = 3 tokens of a row: as many as if every
  // token went to exactly one expert.
  const i64 G = 2, N = 12, D = 8, E = 4, F = 16, C = N / E;
  Random random(1);
  const auto normal = [&](const Shape& shape) { return random_normal(shape, 0, 1, random.next(), DType::f64); };
  Tensor x = normal({G, N, D}), w_gate = normal({E, D}) / std::sqrt(8.0), w1 = normal({E, D, F}) / std::sqrt(8.0),
         w2 = normal({E, F, D}) / 4.0;
  for (Tensor* leaf : {&x, &w_gate, &w1, &w2}) leaf->requires_grad_();

  say("1. Scores. Every expert scores every token, and a token's scores become shares that sum to 1.");
  const Tensor scores = einsum("gnd,ed->gne", x, w_gate);
  const Tensor shares = softmax(scores, -1);        // [G N E]
  const Tensor suits = permute(shares, {0, 2, 1});  // [G E N]
  check_equal("scores: einsum = matrix product", scores, matmul(x, transpose(w_gate)));
  check_equal("the shares of a token sum to 1", sum(shares, -1), ones({G, N}, DType::f64));

  // The picks are numbers of tokens. A number cannot change a little, so no gradient flows through it. The shares have
  // one, and it is how the router learns: a token whose expert did it good gets a larger share of that expert.
  say("2. The choice. Each expert picks the {} tokens with the largest shares. A share that was picked is called a "
      "gate.",
      C);
  const auto [gates, picked] = top_k(suits, C, -1);  // [G E C], both
  show("picked[0]", picked[0]);

  // The same picks as a matrix: row c of expert e has a one at the token picked. It stores the numbers only (lesson 4).
  const Tensor dispatch = one_hot(picked, N);  // [G E C N]
  const Tensor ones_and_zeros = cast(dense(dispatch), DType::f64);

  say("3. Tokens go into the experts' slots.");
  const Tensor slots = einsum("gecn,gnd->gecd", dispatch, x);
  check_equal("slots: einsum = matrix product", slots, matmul(ones_and_zeros, unsqueeze(x, 1)));
  for (i64 g = 0; g < G; ++g)
    check_equal(fmt::format("slots of row {} = the tokens by their numbers", g), slots[g],
                index_select(x[g], 0, picked[g]));

  say("4. Experts. Each is a network of its own, with weights [E D F] and [E F D] and a gelu between.");
  const Tensor hidden = einsum("gecd,edf->gecf", slots, w1);
  check_equal("hidden: einsum = matrix product", hidden, matmul(slots, w1));
  const Tensor out = einsum("gecf,efd->gecd", gelu(hidden), w2);
  check_equal("out: einsum = matrix product", out, matmul(gelu(hidden), w2));
  Tensor one_by_one = zeros({G, 0, C, D}, DType::f64);
  for (i64 e = 0; e < E; ++e) {
    const Tensor own = matmul(gelu(matmul(select(slots, 1, e), w1[e])), w2[e]);
    one_by_one = concat({one_by_one, unsqueeze(own, 1)}, 1);
  }
  check_equal("out: all experts at once = one after the other", out, one_by_one);

  say("5. Back to the tokens. What an expert made of a token counts as much as its gate says.");
  const Tensor weighted = einsum("gec,gecd->gecd", gates, out);
  check_equal("weighted: einsum = product with broadcasting", weighted, unsqueeze(gates, -1) * out);
  const Tensor y = einsum("gecd,gecn->gnd", weighted, dispatch);
  check_equal("y: einsum = sum over experts of transposed products", y,
              sum(matmul(transpose(ones_and_zeros), weighted), 1));

  // Gates can as well be put into the matrix of ones: this is the combine tensor of the papers.
  const Tensor combine = unsqueeze(gates, -1) * dispatch;  // [G E C N]
  check_equal("y: gates on the outputs = gates in the matrix", y, einsum("gecd,gecn->gnd", out, combine));
  check_equal("gates = the one-hot product of the shares", gates, einsum("gecn,gen->gec", dispatch, suits));

  say("6. The library's layer is a router with a set of experts. It is given the same weights.");
  Init init(random, DType::f64);
  MoE moe(std::make_unique<ExpertChoiceRouter>(D, ExpertChoiceRouter::Options{.experts = E, .capacity = {.factor = 1}},
                                               init),
          std::make_unique<FeedForwardExperts>(D, FeedForwardExperts::Options{.experts = E, .hidden = F}, init));
  auto& router = dynamic_cast<ExpertChoiceRouter&>(*moe.router);
  auto& experts = dynamic_cast<FeedForwardExperts&>(*moe.experts);
  router.gate.weight = w_gate, experts.w1 = w1, experts.w2 = w2;
  Context context;
  const Tensor of_layer = moe.forward(x, context);
  check_equal("y: written out = MoE(ExpertChoiceRouter, FeedForwardExperts)", y, of_layer);

  say("7. Gradients of sum(y * y): through matrices of ones and zeros, through one-hots as lists, and of the layer.");
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
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    check_equal(fmt::format("{}: einsum = matrix products", names[i]), by_einsum[i], by_matrices[i]);
    check_equal(fmt::format("{}: einsum = the layer", names[i]), by_einsum[i], by_layer[i]);
  }
  check("the router's gradient is not zero: it learns through the gates", amax(abs(by_einsum[1])).item() > 1e-3);

  const Tensor times = sum(ones_and_zeros, Axes{1, 2});  // [G N]: experts that picked each token
  std::string counts;
  for (const double n : times[0].to_vector<double>()) counts += fmt::format(" {:.0f}", n);
  say("How many experts picked each token of row 0:{}. The experts are equally busy, the tokens are not equally "
      "served.",
      counts);
  check("each of the E experts has C tokens", sum(times[0]).item() == double(E * C));
  const Tensor left_out = eq(times, zeros_like(times));  // [G N]
  check("there are tokens that nobody picked", any(left_out).item() == 1);
  check("their y is 0", amax(where(unsqueeze(left_out, -1), abs(y.detach()), zeros_like(y.detach()))).item() == 0);
  return finish();
}
