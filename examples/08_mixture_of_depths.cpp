// Lesson 8: Mixture of Depths, and who sees the future.
//
// A network is a stack of *blocks*, and every token passes all of them. Mixture of Depths (arXiv:2404.02258) lets only
// some tokens pass a block; the others go around it and cost nothing. A *router*, one learned vector w, scores the tokens
// of a sequence; the C best (C is the *capacity* of the block) are picked:
//
//   r_n = w . x_n          y_n = x_n + r_n block(x)_n  for the C tokens with the largest r_n,   y_n = x_n for the others
//
// r_n stands as a factor (a *gate*) before the block, so that w has a gradient. This is expert choice (lesson 5) with a
// single expert. Letters: B sequences, S positions, D numbers per token.
//
// But "the C best of the sequence" is not known before the sequence ends. A language model, which writes one token after
// the other, cannot ask for it. This lesson shows the leak, how to find such leaks, and a way out.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

int main() {
  begin(8, "Mixture of Depths, and who sees the future");
  const i64 B = 1, S = 12, D = 4, C = 4;
  Random random(8);
  Init init(random, DType::f64);
  const Tensor x = random_normal({B, S, D}, 0, 1, random.next(), DType::f64);

  // The library's layer, with a linear map as its block.
  MoDLayer layer(D, std::make_unique<AsLayer<Linear>>(D, D, init), {.capacity = {.slots = C}}, init);
  const Linear& block = dynamic_cast<AsLayer<Linear>&>(*layer.block).module;
  const Tensor w = layer.router.gate.weight[0];  // [D]

  // ---- by hand: score, pick, process only what was picked, put it back
  const Tensor r = einsum("bsd,d->bs", x, w);
  const Tensor picked = sort(top_k(r, C, 1).indices).values;  // [B C], in order of positions
  const Tensor dispatch = one_hot(picked, S);                 // [B C S], stored as a list (lesson 4)
  const Tensor slots = einsum("bcs,bsd->bcd", dispatch, x);
  const Tensor gates = take_along(r, 1, picked);
  const Tensor back = einsum("bc,bcs,bcd->bsd", gates, dispatch, block.forward(slots));
  const Tensor y = x + back;
  say("{} tokens, and a block with room for {}. Scores of the tokens, and which way they take:", S, C);
  const std::vector<i64> through = picked.to_vector<i64>();
  for (i64 s = 0; s < S; ++s) {
    const bool passes = std::find(through.begin(), through.end(), s) != through.end();
    show(fmt::format("token {:2}  {:6.2f}  {}", s, r.index({0, s}).item(), passes ? "--[block]-->" : "----------->"));
  }
  check("the block saw C rows, not S", slots.dim(1) == C);
  Context context;
  const Tensor of_layer = layer.forward(x, context);
  check_equal("written out = MoDLayer", y, of_layer);
  bool around = true;
  for (i64 s = 0; s < S; ++s)
    if (std::find(through.begin(), through.end(), s) == through.end()) around &= distance(y[0][s], x[0][s]) == 0;
  check("tokens that go around are unchanged, to the bit", around);

  // ---- the gradient: w learns through the gates of picked tokens
  const Tensor gw = w.detach().requires_grad_();
  const auto loss = [&](const Tensor& weight) {  // with the picks as they were
    const Tensor gate = take_along(einsum("bsd,d->bs", x, weight), 1, picked);
    return sum(square(x + einsum("bc,bcs,bcd->bsd", gate, dispatch, block.forward(slots))));
  };
  const GradReport report = gradcheck([&](const std::vector<Tensor>& in) { return loss(in[0]); }, {gw.detach()});
  say("The router's gradient goes through the gates of the picked tokens; finite differences agree (lesson 2):");
  check("the gradient of w is right, and not zero", report.ok && amax(abs(grad(loss(gw), {gw})[0])).item() > 1e-3);

  // ---- the leak
  // Make the last token very attractive, and look at the tokens before it.
  const Tensor changed = concat({slice(x, 1, {0, S - 1}), reshape(100 * w, {1, 1, D})}, 1);
  const Tensor moved = amax(abs(layer.forward(changed, context).detach() - of_layer.detach()), -1)[0];  // [S]
  i64 first = S;
  for (i64 s = S - 2; s >= 0; --s)
    if (moved[s].item() > 0) first = s;
  say("Now only the last token changes, to one with a huge score. It takes a place in the block, so another token "
      "must go around. y changes at position {}, though x before position {} is the same.",
      first, S - 1);
  check("an earlier position has seen the future", first < S - 1);

  // causality_check does this at every position, with the gradient as well, and names the operation that leaks.
  const auto mod = [&](const Tensor& input) {
    Context c;
    return layer.forward(input, c);
  };
  const CausalityReport leak = causality_check(mod, x, 1);
  say("causality_check finds it, and who did it:");
  show(leak.text());
  check("Mixture of Depths is not causal", !leak.ok);
  check("the culprit is the top-k over the sequence", leak.op.find("top_k") != std::string::npos);

  // ---- a router in which every token chooses for itself sees no other token
  const TopKRouter token_choice(D, {.experts = 4, .k = 2}, init);
  const auto gates_of = [&](const Tensor& input) {
    Context c;
    return token_choice.route(input, {}, c).gates;
  };
  say("When tokens choose experts (lesson 6, dropless), a token's gates depend on that token alone:");
  check("token choice is causal", causality_check(gates_of, x, 1).ok);

  // ---- a way out: a threshold instead of a rank
  // "Is r_n above t?" needs no other token. t is a number kept from training, such as the average of the C-th best score;
  // the paper trains a small predictor for the same purpose. How many tokens pass is then right only on average.
  const double t = amin(gates).item() - 1e-9;  // of this sequence: just below its C-th best score
  const auto by_threshold = [&](const Tensor& input) {
    const Tensor score = einsum("bsd,d->bs", input, w);
    const Tensor gate = where(gt(score, full_like(score, t)), score, zeros_like(score));
    return input + unsqueeze(gate, -1) * block.forward(input);  // plain: computes the block for all, to show the values
  };
  say("A threshold t = {:.3f} in place of the rank:", t);
  check_equal("on this sequence it picks the same tokens", by_threshold(x), y);
  check("and it is causal", causality_check(by_threshold, x, 1).ok);
  const i64 passing = static_cast<i64>(
      count_nonzero(gt(einsum("bsd,d->bs", random_normal({1, 1200, D}, 0, 1, random.next(), DType::f64), w),
                       scalar(t, DType::f64)))
          .item());
  say("Of 1200 other tokens {:.0f} % pass it, where the rank let {:.0f} % pass: how many do is right on average "
      "only, and for that t must be taken from many sequences, not from one.",
      100 * double(passing) / 1200, 100 * double(C) / double(S));
  return finish();
}
