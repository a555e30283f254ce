// Lesson 7: Soft MoE is two softmaxes.
//
// Lessons 5 and 6 chose: a token is in a slot or it is not, and what was not chosen gets no gradient. Soft MoE
// (arXiv:2308.00951) does not choose. Every slot (a row that an expert works on) is an average over all tokens, and every
// token gets an average over all slots. Both averages come from the same scores, the *logits*, by two softmaxes: one over
// tokens, one over slots. With a learned vector phi_ec for slot c of expert e:
//
//   logits_nec = x_n . phi_ec
//   dispatch_nec = e^logits_nec / sum over n     (tokens compete for a slot)          slot_ec = sum_n dispatch_nec x_n
//   combine_nec = e^logits_nec / sum over e, c   (slots compete for a token)    y_n = sum_ec combine_nec expert_e(slot_ec)
//
// Letters: G groups (images, here), N tokens of a group, D numbers of a token, E experts, C slots of an expert.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

struct Soft {
  Tensor dispatch, combine;  // [G N E C]
};
// The two softmaxes: the whole router.
Soft two_softmaxes(const Tensor& logits) { return {softmax(logits, 1), softmax(logits, Axes{2, 3})}; }

// The whole layer, for experts that are one matrix each, w [E D D].
Tensor soft_moe(const Tensor& x, const Tensor& logits, const Tensor& w) {
  const auto [dispatch, combine] = two_softmaxes(logits);
  const Tensor slots = einsum("gnec,gnd->gecd", dispatch, x);
  const Tensor out = einsum("gecd,edf->gecf", slots, w);
  return einsum("gnec,gecf->gnf", combine, out);
}

int main() {
  begin(7, "Soft MoE is two softmaxes");
  const i64 G = 2, N = 6, D = 4, E = 3, C = 2;
  Random random(7);
  const auto normal = [&](const Shape& shape) { return random_normal(shape, 0, 1, random.next(), DType::f64); };
  const Tensor x = normal({G, N, D}), phi = normal({D, E, C}), w = normal({E, D, D});

  const Tensor logits = einsum("gnd,dec->gnec", x, phi);
  const auto [dispatch, combine] = two_softmaxes(logits);
  say("{} tokens, {} experts with {} slots each. What slot 0 of expert 0 is made of, in group 0:", N, E, C);
  for (i64 n = 0; n < N; ++n) {
    const double share = dispatch.index({0, n, 0, 0}).item();
    show(fmt::format("token {}  {:4.0f} %  {}", n, 100 * share, bar(share, 1)));
  }
  check_equal("the shares of the tokens in a slot sum to 1", sum(dispatch, 1), ones({G, E, C}, DType::f64));
  say("And what token 0 gets from each slot:");
  for (i64 e = 0; e < E; ++e)
    for (i64 c = 0; c < C; ++c) {
      const double share = combine.index({0, 0, e, c}).item();
      show(fmt::format("expert {} slot {}  {:4.0f} %  {}", e, c, 100 * share, bar(share, 1)));
    }
  check_equal("the shares of the slots in a token sum to 1", sum(combine, Axes{2, 3}), ones({G, N}, DType::f64));
  check("no share is 0: every token is in every slot, nothing is dropped",
        amin(dispatch).item() > 0 && amin(combine).item() > 0);

  // ---- the library's layer: a router and a set of experts, as for the other mixtures
  Init init(random, DType::f64);
  auto router = std::make_unique<SoftRouter>(
      D,
      SoftRouter::Options{.experts = E, .slots = C, .normalize_tokens = false, .slot_norm = SoftRouter::SlotNorm::none},
      init);
  router->phi = phi;
  auto experts = std::make_unique<LinearExperts>(D, LinearExperts::Options{.experts = E, .bias = false}, init);
  experts->weight = w;
  const MoE layer(std::move(router), std::move(experts));
  Context context;
  const Tensor y = soft_moe(x, logits, w);
  say("The library's layer with the same phi and the same experts:");
  check_equal("two softmaxes = MoE(SoftRouter, LinearExperts)", y, layer.forward(x, context));

  // ---- in wide models x . phi grows with D, and a softmax of large numbers is all but a choice. So the paper takes the
  // cosine of the angle between x and phi, times one learned number `scale` (its section 2.3). That is the wrapper:
  const auto make_expert = [&](Init& i) {
    return std::make_unique<AsLayer<Linear>>(D, D, i, Linear::Options{.bias = false});
  };
  SoftMoEWrapper wrapper(D, {.experts = E, .slots = C}, make_expert, init);
  const StateDict weights = wrapper.state_dict();
  const auto weight = [&](const std::string& name) {
    return std::find_if(weights.begin(), weights.end(), [&](const NamedTensor& t) { return t.name == name; })->tensor;
  };
  const double scale = weight("scale").item();
  const Tensor cosine = einsum("gnd,dec->gnec", normalize(x, 2, -1), normalize(weight("phi"), 2, 0));
  const Tensor own = stack({transpose(weight("experts.0.weight")), transpose(weight("experts.1.weight")),
                            transpose(weight("experts.2.weight"))},
                           0);
  say("With lengths divided out, logits lie between -scale and scale, however wide the tokens are. SoftMoEWrapper "
      "does so and takes any layer as an expert:");
  check("the cosines lie in [-1, 1]", amax(abs(cosine)).item() <= 1);
  check_equal("two softmaxes = SoftMoEWrapper", soft_moe(x, scale * cosine, own), wrapper.forward(x, context));

  // ---- from an average to a choice: the factor in front of the logits
  say("A factor in front of the logits leads from a plain average to a choice. The largest share in a slot, on "
      "average:");
  double before = 0, largest = 0;
  bool rising = true;
  for (const double factor : {0.0, 0.3, 1.0, 3.0, 10.0, 100.0}) {
    largest = mean(amax(two_softmaxes(factor * logits).dispatch, 1)).item();
    show(fmt::format("factor {:5}  {:4.0f} %  {}", factor, 100 * largest, bar(largest, 1)));
    rising &= largest > before;
    before = largest;
  }
  check("it rises from 1/N",
        rising && std::abs(mean(amax(two_softmaxes(0.0 * logits).dispatch, 1)).item() - 1.0 / N) < 1e-12);
  check("to nearly 1", largest > 0.99);

  // ---- what follows
  say("Because nothing is chosen, all derivatives exist, for every token and every expert:");
  const Tensor gx = x.detach().requires_grad_(), gw = w.detach().requires_grad_();
  const std::vector<Tensor> d = grad(sum(square(soft_moe(gx, einsum("gnd,dec->gnec", gx, phi), gw))), {gx, gw});
  check("no token and no expert is without a gradient",
        amin(amax(abs(d[0]), -1)).item() > 0 && amin(amax(abs(d[1]), Axes{1, 2})).item() > 0);
  const Tensor order = tensor({5, 2, 0, 4, 1, 3}, DType::i64);
  const Tensor shuffled = index_select(x, 1, order);
  check_equal("tokens in another order give the same results in that order",
              soft_moe(shuffled, einsum("gnd,dec->gnec", shuffled, phi), w), index_select(y, 1, order));

  // E experts with C slots cost what E C slots cost; more experts with fewer slots each are more weights for the same work.
  const auto flops = [&](i64 e, i64 c) {
    const Tensor p = normal({D, e, c}), m = normal({e, D, D});
    CostLedger ledger;
    soft_moe(x, einsum("gnd,dec->gnec", x, p), m);
    return ledger.total().flops;
  };
  say("2 experts with 4 slots take {:.0f} FLOPs, 8 experts with 1 slot {:.0f}: experts add weights, slots add work.",
      flops(2, 4), flops(8, 1));
  check("four times the experts, the same work", flops(2, 4) == flops(8, 1));
  say("The price: every slot has seen every token, also later ones. For images that is fine. A language model that "
      "writes word by word must not see the future (lesson 8).");
  return finish();
}
